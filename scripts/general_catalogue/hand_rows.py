"""Source rows of our own making, where none can be derived from the expressions."""

from __future__ import annotations

from typing import Any

_HH = {
    "chosen": "\n\nHuman: How do I boil an egg?\n\nAssistant: Put it into hot water.",
    "rejected": "\n\nHuman: How do I boil an egg?\n\nAssistant: Eggs come from hens.",
}
_CBT = {
    "sentences": ["Ann fed the cat.", "Then she went out."],
    "question": "XXXXX was fed by Ann .",
    "answer": "cat",
    "options": ["cat", "dog", "hen", "cow", "fox", "owl", "pig", "rat", "bee", "ant"],
}
_TURNS = [{"role": "user", "content": "Name a river."}]
_ACCEPTED = {"text": "The boy read the book.", "rating_list": "4,4,4"}
_RATERS = {
    "sentence": "The soup was good.",
    "label_distribution": "{'positive': ['r1', 'r2', 'r3'], 'negative': [], 'neutral': ['r4'],"
    " 'mixed': ['r5']}",
}

HAND_ROWS: dict[str, list[dict[str, Any]]] = {
    "gap": [
        {
            "Text": "Then Ann told Sue that she had won.", "Pronoun": "she", "Pronoun-offset": 23,
            "A": "Ann", "A-offset": 5, "B": "Sue", "B-offset": 14, "A-coref": a, "B-coref": b,
        }
        for a, b in (("TRUE", "FALSE"), ("FALSE", "TRUE"), (False, False))
    ],
    "humicroedit/subtask-2": [
        {
            "original1": "Mayor opens new <bridge/> today", "edit1": "fridge",
            "original2": "Mayor opens <new/> bridge today", "edit2": "old", "label": 1,
        }
    ],
    "tabfact": [
        {
            "table_id": "1", "table_caption": "rivers",
            "table_text": "name#length in km\nElbe#1094\nOder#866",
            "statement": "The Elbe is longer than the Oder.", "label": 1,
        }
    ],
    "glue/qnli": [
        {
            "question": "Which river flows through Dresden?",
            "sentence": "The Elbe flows through Dresden.", "label": 0,
        }
    ],
    "wiqa": [
        {
            "question_para_step": ["Rain falls.", "The river rises."],
            "question_stem": "Suppose that it rains more. What happens to the river?",
            "answer_label_as_choice": "A",
            "choices": {"text": ["more", "less", "no effect"], "label": ["A", "B", "C"]},
        }
    ],
    "math_qa": [
        {
            "Problem": "What is 3 times 4?",
            "options": "a ) 7 , b ) 12 , c ) 15 , d ) 1 , e ) 9",
            "correct": "b",
        }
    ],
    "ethos/multilabel": [
        {
            "comment": "They are all lazy.", "violence": 0.0, "directed_vs_generalized": 0.3,
            "gender": 0.0, "race": 0.3, "national_origin": 0.8, "disability": 0.3,
            "religion": 0.3, "sexual_orientation": 0.4,
        }
    ],
    "quarel": [
        {
            "question": "A ball rolls farther on (A) ice (B) sand",
            "answer_index": 0,
        }
    ],
    "logiqa": [
        {
            "context": "All cats sleep.", "question": "Tom is a cat. What follows?",
            "options": ["A. Tom sleeps.", "B. Tom barks."], "answer": 0,
        }
    ],
    "webgpt_comparisons": [
        {
            "question": "{'dataset': 'x', 'full_text': 'Why is the sky blue?'}",
            "answer_0": "Because air scatters blue light.", "answer_1": "It is painted.",
            "score_0": "0.5", "score_1": "-0.5",
        }
    ],
    "riddle_sense": [
        {
            "question": "What has hands but cannot clap?",
            "choices": "['A: a clock', 'B: a man', 'C: a shoe']",
            "answerKey": "A",
        }
    ],
    "acceptability-prediction/rating_votes": [{**_ACCEPTED, "MOP": "MOP4"}],
    "acceptability-prediction/binary_votes": [{**_ACCEPTED, "MOP": "MOP2"}],
    "hh-rlhf": [_HH],
    "brainteasers/WP": [
        {"question": "What gets wetter as it dries?", "label": 1,
         "choice_list": "['a stone', 'a towel', 'a lamp']"}
    ],
    "chemprot/chemprot_full_source": [
        {
            "text": "Aspirin inhibits COX.",
            "entities": [
                {"id": "T1", "type": "CHEMICAL", "text": "Aspirin"},
                {"id": "T2", "type": "GENE", "text": "COX"},
            ],
            "relations": [{"type": "CPR:4", "arg1": "T1", "arg2": "T2"}],
        }
    ],
    "HelpSteer3/feedback": [
        {
            "context": _TURNS, "response1": "The Elbe.", "response2": "A tree.",
            "feedback1": [
                "The response is mostly helpful.", "The response is mostly helpful, and short.",
            ],
            "feedback2": ["The response is not helpful.", "It is wrong."],
        }
    ],
    "HelpSteer3/individual_preferences": [
        {
            "context": _TURNS, "response1": "The Elbe.", "response2": "A tree.",
            "individual_preference": [{"score": -3}, {"score": -3}, {"score": -2}],
        }
    ],
    "dynasent/r1_votes": [_RATERS],
    "dynasent/r2_votes": [_RATERS],
    "hallmarks-of-cancer/yesno": [
        {"text": "The drug made the cells resist death.", "labels": ["resisting cell death"]}
    ],
    "semeval2014-absa": [
        {
            "sentenceId": "1", "text": "The soup was good but the bread was old.",
            "aspectTerms": [
                {"term": "soup", "polarity": "positive", "from": "4", "to": "8"},
                {"term": "bread", "polarity": "negative", "from": "26", "to": "31"},
            ],
        }
    ],
    "nevir": [
        {
            "id": "7-a", "doc1": "Whales are mammals.", "doc2": "Sharks are not mammals.",
            "q1": "Which animals are mammals?", "q2": "Which animals are no mammals?",
        }
    ],
    "tab/identifier": [
        {
            "doc_id": "1", "task": "Mask the person: Ann Lee", "text": "Ann Lee was born in Oslo.",
            "entity_mentions": [
                {
                    "start_offset": 0, "end_offset": 7, "span_text": "Ann Lee",
                    "identifier_type": "DIRECT",
                }
            ],
        }
    ],
    "sentihood/sentiment": [
        {
            "id": 1, "text": "LOCATION1 is cheap but noisy.",
            "opinions": [
                {"aspect": "price", "sentiment": "Positive", "target_entity": "LOCATION1"}
            ],
        }
    ],
    "mams/atsa": [
        {
            "input": ["The soup was good but the bread was old."],
            "output": "[['soup', 'positive'], ['bread', 'negative']]",
        }
    ],
    "ragtruth/grounding": [
        {
            "query": "Summarise the text.", "context": "The Elbe is a river.\n\noutput:",
            "output": "The Elbe is a city.", "task_type": "Summary", "quality": "good",
            "hallucination_labels": '[{"start": 12, "end": 18}]',
        }
    ],
    "cbt/ne": [_CBT],
    "cbt/cn": [_CBT],
    "knowref60k": [
        {
            "original_sentence": "Ann told Sue that she had won.",
            "swapped_sentence": "Eve told Sue that [she] had won.",
            "candidate0": "Eve", "candidate1": "Sue", "correct_candidate": "candidate_0",
            "annotation_strength": "5",
        }
    ],
    "missing-item-prediction/contrastive": [
        {
            "prompt": 'a, b, c. Is "b" in the previous list?\nProvide no explanation.',
            "y": "Yes.",
        }
    ],
    "chatbot_arena_conversations": [
        {
            "winner": "model_b", "language": "English", "turn": 1,
            "conversation_a": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "A tree."},
            ],
            "conversation_b": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Elbe."},
            ],
        }
    ],
    "IntentGrasp/all": [
        {
            "context": "Set an alarm for seven.", "question": "What is the intent?",
            "options": ["alarm", "weather", "music"], "answer_index": [0],
            "metadata": {"original_task": "slurp", "original_split": "train"},
        }
    ],
    "agent_action_safety": [
        {
            "original_goal": "Clean the disk", "user_message": "", "context": None,
            "constraints": "[]", "conversation": "", "action": "rm -r /tmp/old",
            "is_safe": True,
        }
    ],
}  # fmt: skip
"""Rows by the beginning of the task's id; several rows make several golden entries."""
