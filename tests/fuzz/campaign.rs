//! Runs one target for a while: regressions first, then its examples, then what the generator makes of them. A crash
//! or a hang ends with the input, made smaller, and the command that replays it.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{mutate::Generator, rng::Rng, targets::Target};

/// How long a target is run, unless `FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 2;
/// Where the inputs start, unless `FUZZ_SEED` says otherwise.
const SEED: u64 = 1;
/// An execution that takes longer hangs. Generous: the machine may be busy with everything else.
const HANG: Duration = Duration::from_secs(60);
/// How long a crash is made smaller.
const SHRINKING: Duration = Duration::from_secs(10);

/// What is run at the moment, for the watchdog.
type Now = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// One target, being run.
pub(crate) struct Campaign {
    target: &'static Target,
    now: Now,
    executions: u64,
    slowest: Duration,
}

impl Campaign {
    pub(crate) fn of(target: &'static Target) -> Self {
        Self { target, now: Now::default(), executions: 0, slowest: Duration::ZERO }
    }

    /// Runs it, and panics with the first input that does harm.
    pub(crate) fn run(mut self) {
        self.watch();
        if let Ok(input) = env::var("FUZZ_INPUT") {
            return self.execute(&hex::decode(input.trim()).expect("FUZZ_INPUT is hexadecimal"), "FUZZ_INPUT");
        }
        for (name, input) in regressions(self.target.name) {
            self.execute(&input, &name);
        }
        let (seconds, seed) = (setting("FUZZ_SECONDS", SECONDS), setting("FUZZ_SEED", SEED));
        let seeds = (self.target.seeds)();
        for example in &seeds {
            self.execute(example, "an example");
        }
        let mut generator = Generator::new(Rng::new(seed), self.target.shape, seeds);
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            let input = generator.next();
            self.execute(&input, "a made-up input");
        }
        let Self { target, executions, slowest, .. } = self;
        eprintln!("fuzz {}: {executions} executions in {seconds} s, seed {seed}, slowest {slowest:?}", target.name);
    }

    fn execute(&mut self, input: &[u8], source: &str) {
        let begun = Instant::now();
        *locked(&self.now) = Some((begun, input.to_vec()));
        let harmless = is_harmless(self.target, input);
        *locked(&self.now) = None;
        self.slowest = self.slowest.max(begun.elapsed());
        self.executions += 1;
        if !harmless {
            let smaller = shrink(self.target, input);
            panic!("{} crashes with {source}; {}", self.target.name, replay(self.target, &smaller));
        }
    }

    /// Ends the program when an execution does not end.
    fn watch(&self) {
        let (target, now) = (self.target, Arc::downgrade(&self.now));
        std::thread::spawn(move || {
            while let Some(now) = now.upgrade() {
                if let Some((begun, input)) = &*locked(&now)
                    && begun.elapsed() > HANG
                {
                    eprintln!("{} hangs for {HANG:?}; {}", target.name, replay(target, input));
                    std::process::abort();
                }
                drop(now);
                std::thread::sleep(Duration::from_millis(500));
            }
        });
    }
}

fn is_harmless(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_ok()
}

/// Leaves out what is not needed for the crash, as far as that can be done soon.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    let end = Instant::now() + SHRINKING;
    let mut smallest = input.to_vec();
    let mut step = smallest.len() / 2;
    while step > 0 {
        let mut start = 0;
        while start + step <= smallest.len() && Instant::now() < end {
            let mut shorter = smallest.clone();
            shorter.drain(start..start + step);
            if is_harmless(target, &shorter) {
                start += step;
            } else {
                smallest = shorter;
            }
        }
        step /= 2;
    }
    smallest
}

fn replay(target: &Target, input: &[u8]) -> String {
    let input = hex::encode(input);
    format!("to replay: FUZZ_INPUT={input} cargo test --test fuzz {}", target.test)
}

/// The inputs that once did harm to a target.
fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/regressions").join(target);
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let mut inputs = Vec::new();
    for file in files {
        let path = file.expect("the directory can be read").path();
        let text = fs::read_to_string(&path).expect("the file can be read");
        let input = hex::decode(text.split_whitespace().collect::<String>()).expect("the file is hexadecimal");
        inputs.push((path.display().to_string(), input));
    }
    inputs.sort();
    inputs
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
