"""Peak host memory of compressing a model on disk: flat in the number of its blocks.

Models of equal blocks with random weights are written to disk, opened with ``offload``, compressed
and saved, each in a process of its own that has done the same with a tiny model before, so that
libraries are loaded. Reported are the process's peak, the peak before the model was opened, the
difference, both as shares of the first model's, and the dense model's bytes for comparison.

    python benchmarks/offload_memory.py --blocks 12 24 48 --hidden 512
"""

# ruff: noqa: PLC0415 (a child inherits the peak of its parent, which therefore imports little)
from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

PASSED_ON = ("hidden", "samples", "length", "vocabulary", "method")


def write_model(folder: Path, blocks: int, hidden: int, vocabulary: int) -> None:
    """A Llama of random weights in shards of about two blocks."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=blocks,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 64,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder, max_shard_size=2 * 4 * (4 + 3 * 11 // 4) * hidden**2)
    words = WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0")  # noqa: S106
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words)).save_pretrained(folder)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, int]:
    """Bytes: of the process before and at its peak, and of the dense model."""
    tiny = folder / "tiny"
    write_model(tiny, 1, 64, options.vocabulary)
    compress(tiny, options)
    before = peak()
    dense = compress(folder, options)
    return {"before": before, "peak": peak(), "dense": dense}


def compress(folder: Path, options: argparse.Namespace) -> int:
    """Compress the model in ``folder``, save the result there; bytes of the dense model."""
    import torch

    import harness
    from harness.calibration.text import TextCalibration
    from harness.compression.compressor import compressors
    from harness.compression.job import CompressionJob
    from harness.compression.pipeline import compress_model
    from harness.plugins.options import configure
    from harness.records.record import DataFacts

    torch.set_num_threads(1)
    compressor = compressors.get(options.method)
    subject = harness.load_model(str(folder), offload=True)
    dense = subject.facts().bytes
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(options.vocabulary, (options.samples, options.length), generator=generator)
    facts = DataFacts(reference="random", fingerprint="0" * 64)
    small = compress_model(
        subject,
        CompressionJob(
            options.method,
            compressor,
            configure(compressor.config, {}, options.method),
            0.3,
            TextCalibration(ids, torch.ones_like(ids), facts),
        ),
        block_checkpoints=folder / "staging",
    )
    harness.save(small, folder / "small")
    return dense


def peak() -> int:
    """Most bytes this process has had resident so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_a_process(stage: str, folder: Path, options: argparse.Namespace, blocks: int) -> str:
    """What the stage prints."""
    given = [part for name in PASSED_ON for part in (f"--{name}", str(getattr(options, name)))]
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--blocks", str(blocks), *given], check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def main() -> None:
    """Measure one model after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[12, 24, 48])
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--method", default="latentllm")
    parser.add_argument("--vocabulary", type=int, default=1000)
    parser.add_argument("--stage", choices=["write", "compress"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage == "write":
        write_model(options.folder, options.blocks[0], options.hidden, options.vocabulary)
        return
    if options.stage == "compress":
        sys.stdout.write(json.dumps(measure(options.folder, options)))
        return
    sys.stdout.write("blocks  dense MB  before MB  peak MB  grown MB  peak ratio  grown ratio\n")
    first: tuple[int, int] | None = None
    for blocks in options.blocks:
        with tempfile.TemporaryDirectory() as folder:
            in_a_process("write", Path(folder), options, blocks)
            found = json.loads(in_a_process("compress", Path(folder), options, blocks))
        grown = found["peak"] - found["before"]
        first = first or (found["peak"], grown)
        sys.stdout.write(
            f"{blocks:6} {found['dense'] / 1e6:9.1f} {found['before'] / 1e6:10.1f} "
            f"{found['peak'] / 1e6:8.1f} {grown / 1e6:9.1f} {found['peak'] / first[0]:11.3f} "
            f"{grown / first[1]:12.3f}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
