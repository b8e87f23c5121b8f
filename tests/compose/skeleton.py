"""Writes a workspace with this one's manifests and dependencies, and no code of its own.

Building it builds the dependencies, and nothing that changes when the code does.
Run in the workspace; argument: the directory to write to.
"""

import json
import pathlib
import shutil
import subprocess
import sys


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    command = ["cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    root = pathlib.Path(metadata["workspace_root"])

    def place(path: str) -> pathlib.Path:
        target = out / pathlib.Path(path).relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    shutil.copy(root / "Cargo.lock", place(str(root / "Cargo.lock")))
    shutil.copy(root / "Cargo.toml", place(str(root / "Cargo.toml")))
    for package in metadata["packages"]:
        shutil.copy(package["manifest_path"], place(package["manifest_path"]))
        for target in package["targets"]:
            is_library = any(kind.endswith("lib") or kind == "proc-macro" for kind in target["kind"])
            place(target["src_path"]).write_text("" if is_library else "fn main() {}\n")
    own = " ".join(f"-p {package['name']}" for package in metadata["packages"])
    (out / "own-packages").write_text(own + "\n")


main()
