"""What lm-evaluation-harness makes of a model and local files, for `wmgen eval`.

MODEL is a Hugging Face directory or a Gemma 3 GGUF file, which is dequantised.
Everything is computed in float32, eager attention. The tasks are the
harness's own configurations of mmlu, arc_challenge, gsm8k, mbpp and wikitext,
with local JSON lines in place of the hub's data sets, and with the first
examples as shots in place of drawn ones. Only the log-softmax is in float64
(the harness's softmax_dtype): in float32 the sum over 262,144 tokens loses about
1e-5 nats a token, always in one direction. For texts the tokenizer's own <bos>
is off, since the harness puts one in front of that and would score it.

OUT gets for each task its metrics, and for each document prompt, choices,
log-likelihoods or answer. Tokens that wmgen never draws are suppressed.

--samples FILE compares with what `wmgen eval --samples` logged instead, and
--report FILE with what `wmgen eval --json` printed.

Usage: python eval_reference.py MODEL TOKENIZER.json OUT --task NAME DATA SHOTS [SHOTS_DATA] ... [--limit N]
"""

import argparse
import json
import pathlib

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

MMLU_PROMPT = "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
ARC_PROMPT = "Question: {{question}}\nAnswer:"
MBPP_TESTS = "{{test_list[0]}}\n{{test_list[1]}}\n{{test_list[2]}}"


def mean(*names):
    return [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names]


def config(name, max_tokens, group=None):
    """The harness's configuration of a task; see its tasks/."""
    if name == "mmlu":
        subject = group.replace("_", " ")
        return {
            "output_type": "multiple_choice",
            "description": f"The following are multiple choice questions (with answers) about {subject}.\n\n",
            "doc_to_text": MMLU_PROMPT,
            "doc_to_choice": ["A", "B", "C", "D"],
            "doc_to_target": "answer",
            "metric_list": mean("acc"),
        }
    if name == "choices":  # GSM8K's questions with one number of several
        return {
            "output_type": "multiple_choice",
            "doc_to_text": ARC_PROMPT,
            "doc_to_target": "{{answer}}",
            "doc_to_choice": "{{choices}}",
            "metric_list": mean("acc", "acc_norm"),
        }
    if name == "arc_challenge":
        return {
            "output_type": "multiple_choice",
            "doc_to_text": ARC_PROMPT,
            "doc_to_target": "{{choices.label.index(answerKey)}}",
            "doc_to_choice": "{{choices.text}}",
            "metric_list": mean("acc", "acc_norm"),
        }
    if name == "gsm8k":
        ignore = [",", "\\$", "(?s).*#### ", "\\.$"]
        return {
            "output_type": "generate_until",
            "doc_to_text": ARC_PROMPT,
            "doc_to_target": "{{answer}}",
            "metric_list": [m | {"ignore_case": True, "ignore_punctuation": False, "regexes_to_ignore": ignore} for m in mean("exact_match")],
            "generation_kwargs": {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "temperature": 0.0, "max_gen_toks": max_tokens},
            "filter_list": [
                {"name": "strict-match", "filter": [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}]},
                {
                    "name": "flexible-extract",
                    "filter": [{"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}, {"function": "take_first"}],
                },
            ],
        }
    if name == "mbpp":
        examples = json.loads((pathlib.Path(__file__).parents[2] / "src/eval/tasks/mbpp.json").read_text())["examples"]
        return {
            "output_type": "generate_until",
            "doc_to_text": "You are an expert Python programmer, and here is your task: {{text}} Your code should pass these tests:\n\n"
            + MBPP_TESTS
            + "\n[BEGIN]\n",
            "doc_to_target": "{% if is_fewshot is defined %}{{code}}\n[DONE]{% else %}" + MBPP_TESTS + "{% endif %}",
            "target_delimiter": "",
            "metric_list": mean("exact_match"),  # without running programs only the answers count
            "generation_kwargs": {"until": ["[DONE]"], "do_sample": False, "max_gen_toks": max_tokens},
            "fewshot_config": {"sampler": "first_n", "samples": [example | {"is_fewshot": True} for example in examples]},
        }
    if name == "perplexity":
        return {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
        }
    raise SystemExit(f"expected a task that this script knows, found {name}")


def load(path, tokenizer_path):
    if path.suffix == ".gguf":
        from gemma3_logprobs import load as load_gguf

        model = load_gguf(path, "eager")
        ends = [1, 106]
    else:
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
        ends = [1, 5]
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # What wmgen never draws: control tokens that end nothing, and spare ones.
    names = {"<mask>", "<2mass>", "[@BOS@]", "[multimodal]", "[toxicity=0]"}
    added = tokenizer.get_added_tokens_decoder()
    never = [i for i, t in added.items() if (t.special or t.content in names or t.content.startswith("<unused")) and i not in ends]
    rows = model.config.vocab_size
    model.generation_config.suppress_tokens = sorted({i for i in never if i < rows} | set(range(tokenizer.get_vocab_size(), rows)))
    model.generation_config.eos_token_id = ends
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", clean_up_tokenization_spaces=False)
    return model, fast


def run(model, tokenizer, name, data, shots, shots_data, args):
    """Yields (name, config, documents) of the harness's tasks that make up one of ours."""
    documents = [json.loads(line) for line in open(data)]
    if name == "mbpp":
        documents = [d for d in documents if 11 <= d["task_id"] <= 510]
    documents = documents[: args.limit]
    groups = sorted({d["subject"] for d in documents}) if name == "mmlu" else [None]
    configs, places, work = [], {}, pathlib.Path(args.work)
    for group in groups:
        task = name if group is None else f"{name}_{group}"
        inside = [i for i, d in enumerate(documents) if group is None or d["subject"] == group]
        files = {"test": str(work / f"{task}.test.jsonl")}
        pathlib.Path(files["test"]).write_text("".join(json.dumps(documents[i]) + "\n" for i in inside))
        c = config(name, args.max_tokens, group) | {"task": task, "num_fewshot": shots, "test_split": "test", "dataset_path": "json"}
        if shots_data:
            examples = [json.loads(line) for line in open(shots_data)]
            examples = [d for d in examples if group is None or d["subject"] == group]
            files["train"] = str(work / f"{task}.train.jsonl")
            pathlib.Path(files["train"]).write_text("".join(json.dumps(d) + "\n" for d in examples))
            c |= {"fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}
        c["dataset_kwargs"] = {"data_files": files}
        configs.append(c)
        places[task] = inside
    # A text has one <bos>, in front; see above.
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=args.batch, max_length=model.config.max_position_embeddings, softmax_dtype="float64", add_bos_token=False if name == "perplexity" else None)
    found = simple_evaluate(model=lm, tasks=configs, log_samples=True, bootstrap_iters=2, task_manager=TaskManager(include_defaults=False))
    metrics, rows = {}, {}
    for task, inside in places.items():
        metrics[task] = {k: v for k, v in found["results"][task].items() if isinstance(v, float)}
        for sample in found["samples"][task]:
            row = rows.setdefault(inside[sample["doc_id"]], {"document": inside[sample["doc_id"]]})
            requests = sample["arguments"]
            if name == "perplexity":
                row["loglikelihoods"] = [float(sample["filtered_resps"][0])]
            elif "choice" in configs[0]["output_type"]:
                row["prompt"] = requests[0][0] if isinstance(requests, list) else requests["gen_args_0"]["arg_0"]
                row["loglikelihoods"] = [float(r[0]) for r in sample["filtered_resps"]]
            else:
                row["prompt"] = requests[0][0] if isinstance(requests, list) else requests["gen_args_0"]["arg_0"]
                row["answer"] = sample["resps"][0][0]
                if sample["filter"] != "none":
                    row.setdefault("scores", {})[f"exact_match,{sample['filter']}"] = float(sample["exact_match"])
    return {"task": name, "shots": shots, "metrics": metrics, "documents": [rows[i] for i in sorted(rows)]}


def compare(tasks, samples, report):
    """Prints how far the program is from the harness."""
    lines = [json.loads(line) for line in open(samples)][1:]
    ours = {(line["task"], line["document"]): line for line in lines}
    reports = {task["task"]: task for task in json.load(open(report))["tasks"]} if report else {}
    reports |= {group["task"]: group for task in list(reports.values()) for group in task["groups"]}
    for task in tasks:
        worst = prompts = answers = 0
        count = 0
        for row in task["documents"]:
            line = ours[(task["task"], row["document"])]
            prompts += line["prompt"] == row.get("prompt", "")
            for a, b in zip(line.get("loglikelihoods", []), row.get("loglikelihoods", []), strict=True):
                worst = max(worst, abs(a - b))
                count += 1
            if "answer" in row:
                answers += line["answer"] == row["answer"]
        n = len(task["documents"])
        print(f"{task['task']}: {n} documents, {prompts} prompts equal, {count} log-likelihoods, largest difference {worst:.2e}, {answers} answers equal")
        for name, values in task["metrics"].items():
            for metric in reports.get(name, {"metrics": []})["metrics"]:
                key = f"{metric['metric']},{metric['filter'] or 'none'}"
                theirs = values.get(key)
                stderr = values.get(key.replace(",", "_stderr,"))
                print(f"  {name} {key}: ours {metric['value']}, theirs {theirs}; stderr ours {metric['stderr']}, theirs {stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "tokenizer", "out", ):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--task", nargs="+", action="append", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--work", default="/tmp")
    parser.add_argument("--samples")
    parser.add_argument("--report")
    args = parser.parse_args()
    if args.samples:
        return compare(json.loads(args.out.read_text())["tasks"], args.samples, args.report)
    model, tokenizer = load(args.model, args.tokenizer)
    tasks = []
    for name, data, shots, *shots_data in args.task:
        tasks.append(run(model, tokenizer, name, data, int(shots), shots_data[0] if shots_data else None, args))
        about = "Made by eval_reference.py with lm_eval 0.4.13, float32, eager attention."
        args.out.write_text(json.dumps({"about": about, "tasks": tasks}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
