//! A network of the benchmark's own, so that the loopback device counts nothing but what is measured.

use std::{
    env,
    io::Error,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// Set for the program that runs in a network of its own.
const MARK: &str = "P2P_CHAT_BENCH_NETWORK";
/// As root, and as somebody else.
const WAYS: [&str; 2] = ["-n", "-rn"];
const RAISE: &str = "ip link set lo up";

/// Whether this process is in a network namespace of its own.
pub(crate) fn is_own() -> bool {
    env::var_os(MARK).is_some()
}

/// Replaces this process by the same program in a network namespace of its own, where the system lets it have one.
/// Returns only where it does not.
pub(crate) fn enter_own() {
    if is_own() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let unshare = |way: &str, script: String| {
        let mut command = Command::new("unshare");
        command.args([way, "sh", "-c", &script]);
        command
    };
    for way in WAYS {
        let tried = unshare(way, RAISE.to_owned()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if tried.is_ok_and(|status| status.success()) {
            let mut command = unshare(way, format!("{RAISE} && exec \"$0\" \"$@\""));
            let error: Error = command.arg(&program).args(env::args_os().skip(1)).env(MARK, "1").exec();
            eprintln!("no network namespace: {error}");
        }
    }
    eprintln!("no network namespace of its own: bytes of other programs on the loopback device count, too");
}
