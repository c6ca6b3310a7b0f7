"""Both servers against their own descriptions, by schemathesis: no 5xx, no undocumented status or body.

What is not checked: that all requests of the described shape are taken, since a shape cannot say that roles take turns.
"""

import os
import subprocess

from servers import servers


def check(url, *more):
    command = ["schemathesis", "run", url + "/openapi.json", "--max-examples", os.environ.get("EXAMPLES", "25")]
    command += ["--seed", "1", "--no-color", "--exclude-checks", "positive_data_acceptance", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    print("\n".join(line for line in done.stdout.splitlines() if "generated" in line or "Tested" in line), flush=True)


def main():
    with servers(generate=["--max-tokens", 4]) as (writer, reader, _):
        check(writer.url, "--header", "Authorization: Bearer optional")
        check(reader.url)
        for program in (writer, reader):
            assert "panic" not in "".join(program.lines)


if __name__ == "__main__":
    main()
