"""Short requests to a device, in the columns and class names of `clinc/clinc_oos`."""

from __future__ import annotations

import random

from pipeline.sources.generated.names import NameMaker, Side
from pipeline.types import Json

Row = dict[str, Json]

_NAMES = """
restaurant_reviews nutrition_info account_blocked oil_change_how time weather redeem_rewards
interest_rate gas_type accept_reservations smart_home user_name report_lost_card repeat
whisper_mode what_are_your_hobbies order jump_start schedule_meeting meeting_schedule
freeze_account what_song meaning_of_life restaurant_reservation traffic make_call text
bill_balance improve_credit_score change_language no measurement_conversion timer flip_coin
do_you_have_pets balance tell_joke last_maintenance exchange_rate uber car_rental credit_limit oos
shopping_list expiration_date routing meal_suggestion tire_change todo_list card_declined
rewards_balance change_accent vaccines reminder_update food_last change_ai_name bill_due
who_do_you_work_for share_location international_visa calendar translate carry_on book_flight
insurance_change todo_list_update timezone cancel_reservation transactions credit_score
report_fraud spending_history directions spelling insurance what_is_your_name reminder
where_are_you_from distance payday flight_status find_phone greeting alarm order_status
confirm_reservation cook_time damaged_card reset_settings pin_change replacement_card_duration
new_card roll_dice income taxes date who_made_you pto_request tire_pressure how_old_are_you
rollover_401k pto_request_status how_busy application_status recipe calendar_update play_music yes
direct_deposit credit_limit_change gas pay_bill ingredients_list lost_luggage goodbye
what_can_i_ask_you book_hotel are_you_a_bot next_song change_speed plug_type maybe w2
oil_change_when thank_you shopping_list_update pto_balance order_checks travel_alert fun_fact
sync_device schedule_maintenance apr transfer ingredient_substitution calories current_location
international_fees calculator definition next_holiday update_playlist mpg min_payment
change_user_name restaurant_suggestion travel_notification cancel pto_used travel_suggestion
change_volume
"""
INTENT_NAMES: tuple[str, ...] = tuple(_NAMES.split())
"""All 151 class names in the hub's order (CLINC150, CC BY 3.0); `oos` is outside all others."""

REQUESTS: dict[str, tuple[str, ...]] = {
    "weather": (
        "will it rain in {place}",
        "how warm is {place} today",
        "is it sunny in {place} right now",
        "what is the weather in {place}",
    ),
    "transfer": (
        "send {number} dollars to {person}",
        "move {number} dollars to {person}",
        "please transfer {number} dollars to {person}",
    ),
    "balance": (
        "how much money is in my {person} account",
        "what is left on my {person} account",
        "tell me the balance of my {person} account",
    ),
    "play_music": (
        "play {person}",
        "put on the song {person}",
        "i want to hear {person}",
        "start some music by {person}",
    ),
    "book_hotel": (
        "find me a room in {place}",
        "i need a hotel in {place}",
        "reserve {number} nights in {place}",
    ),
    "translate": (
        "how do i say {person} in {place}",
        "what is the word for {person} in {place}",
        "translate {person} for me",
    ),
    "calories": (
        "how many calories are in {person}",
        "is {person} fattening",
        "count the calories of {number} {person}",
    ),
    "timer": (
        "wake {person} in {number} minutes",
        "set a {person} timer for {number} minutes",
        "count down {number} minutes for {person}",
    ),
    "directions": (
        "how do i get to {place}",
        "show me the way to {place}",
        "which road leads to {place}",
    ),
    "book_flight": (
        "i want to fly to {place}",
        "get me a plane to {place}",
        "find flights from {place} to {place}",
    ),
    "recipe": (
        "how do i cook {person}",
        "what goes into {person}",
        "teach me to make {person}",
    ),
    "oos": (
        "who painted {person}",
        "how old is the king of {place}",
        "when did {person} win the race",
        "what does {person} think of {place}",
    ),
}
"""Generated intents (12 of 151) with their wordings."""


def intent_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `clinc/clinc_oos` (plus), all intents equally often."""
    names = NameMaker(side, generator)
    intents = list(REQUESTS)
    rows: list[Row] = []
    for index in range(num_rows):
        intent = intents[index % len(intents)]
        words = [_fill(word, names) for word in generator.choice(REQUESTS[intent]).split(" ")]
        rows.append({"text": " ".join(words), "intent": INTENT_NAMES.index(intent)})
    generator.shuffle(rows)
    return rows


def _fill(word: str, names: NameMaker) -> str:
    if word == "{number}":
        return str(names.number(2, 99))
    return names.word() if word.startswith("{") else word
