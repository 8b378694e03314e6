"""The peer's side of `bench_eval`: lm-eval's HF backend, run by a Python that has lm-eval.

Reads one JSON command per line and answers each with the seconds it took; the model is loaded
before. Written for lm-eval 0.4.13.
"""

import json
import sys
import time

import torch


def main() -> None:
    from lm_eval import __version__
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    folder, batch_size = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(int(sys.argv[3]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peer = HFLM(pretrained=folder, device=device, dtype="float32", batch_size=batch_size)
    out = sys.stdout
    sys.stdout = sys.stderr
    print(json.dumps({"version": __version__}), file=out, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        kind = command["kind"]
        requests = [
            Instance(request_type=kind, doc={}, arguments=tuple(arguments), idx=0)
            for arguments in command["requests"]
        ]
        started = time.perf_counter()
        answers = getattr(peer, kind)(requests, disable_tqdm=True)
        seconds = time.perf_counter() - started
        print(json.dumps({"seconds": seconds, "answers": answers}), file=out, flush=True)


if __name__ == "__main__":
    main()
