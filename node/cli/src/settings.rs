//! What holds for one run: flags, then the environment, then files, then defaults; all checked before anything starts.

use std::{
    env,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use p2p_chat_model::{Name, view::Address};

use crate::{
    args::{Global, MonitorArgs, NodeArgs, Preset},
    config::FileConfig,
    failure::Failure,
    screen::Look,
    values::{self, ServiceUrl},
};

/// Name of the local API's Unix socket in the data directory.
pub const SOCKET: &str = "node.sock";
/// Where a discovery service is looked for when none is configured.
pub const DEFAULT_NDS: &str = "127.0.0.1:7400";
/// Longest path of a Unix socket, in bytes (`sun_path` without its final zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The environment variables that are read here.
pub(crate) const VARIABLES: [&str; 4] = [DATA_DIR, NDS, METRICS, OTLP];
const DATA_DIR: &str = "P2P_CHAT_DATA_DIR";
const NDS: &str = "P2P_CHAT_NDS";
const METRICS: &str = "P2P_CHAT_METRICS";
const OTLP: &str = "P2P_CHAT_OTLP";

/// The flags for a node that were given.
fn node_flags(global: &Global, node: &NodeArgs, monitor: &MonitorArgs) -> Vec<&'static str> {
    let flags = [
        ("--nds", !global.nds.is_empty()),
        ("--name", node.name.is_some()),
        ("--listen", node.listen.is_some()),
        ("--advertise", node.advertise.is_some()),
        ("--preset", node.preset.is_some()),
        ("--metrics", monitor.metrics.is_some()),
        ("--otlp", monitor.otlp.is_some()),
    ];
    flags.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag)).collect()
}

/// Read access to environment variables. One that is empty counts as not set.
#[derive(Debug, Clone, Default)]
pub struct Env(Vec<(String, OsString)>);

impl Env {
    /// The environment of this process, as far as its names are text.
    pub fn of_process() -> Self {
        let known = env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value)));
        Self(known.collect())
    }

    /// The variable `key`.
    pub fn value(&self, key: &str) -> Option<&OsString> {
        self.0.iter().find(|(known, value)| known == key && !value.is_empty()).map(|(_, value)| value)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(|value| value.to_str())
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.value(key).map(PathBuf::from)
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// What holds for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The data directory, absolute.
    pub(crate) data_dir: PathBuf,
    /// Whether the user named the data directory (by flag or environment).
    pub(crate) data_dir_is_given: bool,
    /// How the node calls itself.
    pub(crate) name: Name,
    /// Whether the user chose that name.
    pub(crate) name_is_given: bool,
    /// The discovery services, in the order in which they are asked; at least one.
    pub(crate) nds: Vec<ServiceUrl>,
    /// Whether the user named them.
    pub(crate) nds_are_given: bool,
    /// Where to listen, if the user said so.
    pub(crate) listen: Option<SocketAddr>,
    /// Where others reach the node, if the user said so.
    pub(crate) advertise: Option<Address>,
    /// How patient the node, or the discovery service, is.
    pub(crate) preset: Preset,
    /// Where a node that runs for longer serves metrics, if the user said so.
    pub(crate) metrics: Option<String>,
    /// Where a discovery service does.
    pub(crate) nds_metrics: Option<String>,
    /// Which collector the traces of what runs for longer go to, if the user said so.
    pub(crate) otlp: Option<ServiceUrl>,
    /// How the screen looks and behaves.
    pub(crate) screen: Look,
    /// The flags on the command line that are for a node that is started, and come too late for one that runs.
    pub(crate) node_flags: Vec<&'static str>,
}

impl Settings {
    /// Puts the sources together. Every failure is [`Failure::Usage`].
    pub(crate) fn resolve(global: &Global, node: &NodeArgs, monitor: &MonitorArgs, env: &Env) -> Result<Self, Failure> {
        let given_dir = global.data_dir.clone().or_else(|| env.path(DATA_DIR));
        let data_dir_is_given = given_dir.is_some();
        let data_dir = checked_data_dir(given_dir.map_or_else(|| default_data_dir(env), Ok)?)?;
        let file = match &global.config {
            Some(path) => FileConfig::read(path)?,
            None => {
                let own = FileConfig::read_if_present(&data_dir.join("config.toml"))?;
                own.or(user_config_path(env).map_or(Ok(FileConfig::default()), |at| FileConfig::read_if_present(&at))?)
            }
        };
        let nds = match global.nds.as_slice() {
            [] => env_nds(env)?.or(file.nds).filter(|urls| !urls.is_empty()),
            given => Some(given.to_vec()),
        };
        let name = node.name.clone().or(file.name);
        let metrics = monitor.metrics.clone().map_or_else(|| env_metrics(env), |at| Ok(Some(at)))?;
        let otlp = monitor.otlp.clone().map_or_else(|| env_otlp(env), |url| Ok(Some(url)))?;
        Ok(Self {
            data_dir,
            data_dir_is_given,
            name_is_given: name.is_some(),
            name: name.map_or_else(|| default_name(env), Ok)?,
            nds_are_given: nds.is_some(),
            nds: nds.map_or_else(default_nds, Ok)?,
            listen: node.listen.or(file.listen),
            advertise: node.advertise.clone().or(file.advertise),
            preset: node.preset.or(file.preset).unwrap_or_default(),
            metrics: metrics.clone().or(file.metrics),
            nds_metrics: metrics.or(file.nds_metrics),
            otlp: otlp.or(file.otlp),
            screen: Look {
                config: file.screen.unwrap_or_default(),
                keys: file.keys.unwrap_or_default(),
                colours: file.colours.unwrap_or_default(),
            },
            node_flags: node_flags(global, node, monitor),
        })
    }

    /// The settings of the `number`th profile: its own data directory, name and port.
    pub(crate) fn profile(&self, number: u32) -> Result<Self, Failure> {
        if number < 2 {
            return Ok(self.clone());
        }
        let suffix = format!("-{number}");
        let mut data_dir = self.data_dir.clone().into_os_string();
        data_dir.push(&suffix);
        let room = p2p_chat_model::limits::MAX_NAME_CHARS.saturating_sub(suffix.len());
        let stem: String = self.name.as_str().chars().take(room).collect();
        let name = format!("{}{suffix}", stem.trim_end());
        Ok(Self {
            data_dir: checked_data_dir(data_dir.into())?,
            name: name.parse().map_err(|error| Failure::Usage(format!("the name {name:?} is not usable: {error}")))?,
            listen: None,
            advertise: None,
            metrics: None,
            ..self.clone()
        })
    }

    /// The local API's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.data_dir.join(SOCKET)
    }
}

/// Where a node listens that nobody told otherwise: any port of every interface.
pub(crate) fn any_port() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, 0).into()
}

fn checked_data_dir(path: PathBuf) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(&path).map_err(|error| {
        Failure::Usage(format!("the data directory {} can't be used: {error}; choose another", path.display()))
    })?;
    let size = path.join(SOCKET).as_os_str().len();
    if size > MAX_SOCKET_PATH_BYTES {
        let limit = MAX_SOCKET_PATH_BYTES - SOCKET.len() - 1;
        return Err(Failure::Usage(format!(
            "the path of the data directory {} is too long for a Unix socket; choose one of at most {limit} bytes",
            path.display()
        )));
    }
    Ok(path)
}

/// XDG base directory specification: a relative path in a variable is ignored.
fn default_data_dir(env: &Env) -> Result<PathBuf, Failure> {
    let base = xdg(env, "XDG_DATA_HOME", ".local/share");
    base.map(|base| base.join("p2p-chat")).ok_or_else(|| {
        Failure::Usage("there is no home directory to keep data in; name one with --data-dir DIR".to_owned())
    })
}

fn user_config_path(env: &Env) -> Option<PathBuf> {
    xdg(env, "XDG_CONFIG_HOME", ".config").map(|base| base.join("p2p-chat/config.toml"))
}

fn xdg(env: &Env, key: &str, below_home: &str) -> Option<PathBuf> {
    let set = env.path(key).filter(|path| path.is_absolute());
    set.or_else(|| env.path("HOME").map(|home| home.join(Path::new(below_home))))
}

fn env_nds(env: &Env) -> Result<Option<Vec<ServiceUrl>>, Failure> {
    let Some(list) = env.text(NDS) else { return Ok(None) };
    let urls = list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
        part.parse().map_err(|error| {
            Failure::Usage(format!("the environment variable {NDS} has {part:?}: {error}; correct it"))
        })
    });
    urls.collect::<Result<_, _>>().map(Some)
}

fn env_metrics(env: &Env) -> Result<Option<String>, Failure> {
    let read = |text| {
        values::bind_address(text).map_err(|error| {
            Failure::Usage(format!("the environment variable {METRICS} has {text:?}: {error}; correct it"))
        })
    };
    env.text(METRICS).map(read).transpose()
}

fn env_otlp(env: &Env) -> Result<Option<ServiceUrl>, Failure> {
    let read = |text: &str| {
        text.parse().map_err(|error| {
            Failure::Usage(format!("the environment variable {OTLP} has {text:?}: {error}; correct it"))
        })
    };
    env.text(OTLP).map(read).transpose()
}

fn default_nds() -> Result<Vec<ServiceUrl>, Failure> {
    let url = DEFAULT_NDS.parse().map_err(|error| Failure::Failed(format!("bug: {DEFAULT_NDS}: {error}")))?;
    Ok(vec![url])
}

fn default_name(env: &Env) -> Result<Name, Failure> {
    let user = env.text("USER").and_then(|user| user.parse().ok());
    let name = user.map_or_else(|| "anonymous".parse(), Ok);
    name.map_err(|error| Failure::Failed(format!("bug: anonymous: {error}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        global: Global,
        node: NodeArgs,
        monitor: MonitorArgs,
        env: Vec<(&'static str, String)>,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let home = dir.path().display().to_string();
            Self {
                dir,
                global: Global::default(),
                node: NodeArgs::default(),
                monitor: MonitorArgs::default(),
                env: vec![("HOME", home)],
            }
        }

        fn file(&self, path: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(&path, text).expect("written");
            path
        }

        fn resolve(&self) -> Result<Settings, Failure> {
            Settings::resolve(&self.global, &self.node, &self.monitor, &self.env.iter().cloned().collect())
        }

        fn name_and_nds(&self) -> (String, String) {
            let settings = self.resolve().expect("resolved");
            (settings.name.to_string(), settings.nds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
    }

    fn pair(name: &str, nds: &str) -> (String, String) {
        (name.to_owned(), nds.to_owned())
    }

    #[test]
    fn flags_win_over_environment_over_files_over_defaults() {
        let mut world = World::new();
        assert_eq!(world.name_and_nds(), pair("anonymous", "http://127.0.0.1:7400"));
        world.env.push(("USER", "eve".to_owned()));
        assert_eq!(world.name_and_nds().0, "eve");
        world.file(".config/p2p-chat/config.toml", "name = \"user\"\nnds = [\"user:1\"]");
        assert_eq!(world.name_and_nds(), pair("user", "http://user:1"));
        world.file(".local/share/p2p-chat/config.toml", "name = \"own\"");
        assert_eq!(world.name_and_nds(), pair("own", "http://user:1"));
        world.env.push(("P2P_CHAT_NDS", "env:1, env:2".to_owned()));
        assert_eq!(world.name_and_nds(), pair("own", "http://env:1 http://env:2"));
        world.global.nds = vec!["flag:1".parse().expect("a URL")];
        world.node.name = Some("flag".parse().expect("a name"));
        assert_eq!(world.name_and_nds(), pair("flag", "http://flag:1"));
        assert!(world.resolve().expect("resolved").nds_are_given);
    }

    #[test]
    fn the_file_named_with_config_replaces_the_others_and_has_to_exist() {
        let mut world = World::new();
        world.file(".config/p2p-chat/config.toml", "name = \"user\"\npreset = \"wan\"");
        world.global.config = Some(world.file("mine.toml", "listen = \"127.0.0.1:9\""));
        let settings = world.resolve().expect("resolved");
        assert_eq!((settings.name.as_str(), settings.preset), ("anonymous", Preset::Lan));
        assert_eq!(settings.listen, Some("127.0.0.1:9".parse().expect("an address")));
        world.global.config = Some("/nowhere/mine.toml".into());
        let failure = world.resolve().expect_err("there is no such file");
        assert!(failure.to_string().contains("/nowhere/mine.toml"), "{failure}");
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn the_data_directory_follows_flag_environment_and_xdg() {
        let mut world = World::new();
        let dir = |world: &World| {
            let settings = world.resolve().expect("resolved");
            (settings.data_dir.display().to_string(), settings.data_dir_is_given)
        };
        assert_eq!(dir(&world), (world.dir.path().join(".local/share/p2p-chat").display().to_string(), false));
        world.env.push(("XDG_DATA_HOME", "/xdg".to_owned()));
        assert_eq!(dir(&world), ("/xdg/p2p-chat".to_owned(), false));
        world.env.push(("P2P_CHAT_DATA_DIR", "/env".to_owned()));
        assert_eq!(dir(&world), ("/env".to_owned(), true));
        world.global.data_dir = Some("/flag".into());
        assert_eq!(dir(&world), ("/flag".to_owned(), true));
        world.global.data_dir = Some(format!("/{}", "x".repeat(98)).into());
        assert!(world.resolve().expect_err("too long").to_string().contains("at most 97 bytes"));
    }

    #[test]
    fn what_is_wrong_in_the_environment_is_a_usage_error_and_empty_is_unset() {
        let mut world = World::new();
        world.env.push(("P2P_CHAT_NDS", String::new()));
        assert_eq!(world.name_and_nds().1, "http://127.0.0.1:7400");
        world.env[1].1 = "nds:7400,what".to_owned();
        let failure = world.resolve().expect_err("not a URL");
        assert!(failure.to_string().starts_with("the environment variable P2P_CHAT_NDS has \"what\""), "{failure}");
        assert_eq!(failure.exit_code(), 2);
        let failure =
            Settings::resolve(&Global::default(), &NodeArgs::default(), &MonitorArgs::default(), &Env::default());
        assert!(failure.expect_err("no home").to_string().contains("--data-dir DIR"));
    }

    #[test]
    fn metrics_are_off_unless_a_flag_the_environment_or_a_file_asks_for_them() {
        let mut world = World::new();
        let both = |world: &World| {
            let settings = world.resolve().expect("resolved");
            (settings.metrics.unwrap_or_default(), settings.nds_metrics.unwrap_or_default())
        };
        assert_eq!(both(&world), pair("", ""));
        world.file(".config/p2p-chat/config.toml", "metrics = \"file:1\"\nnds_metrics = \"file:2\"");
        assert_eq!(both(&world), pair("file:1", "file:2"));
        world.env.push(("P2P_CHAT_METRICS", "env:0".to_owned()));
        assert_eq!(both(&world), pair("env:0", "env:0"));
        world.monitor.metrics = Some("flag:0".to_owned());
        assert_eq!(both(&world), pair("flag:0", "flag:0"));
        world.monitor.metrics = None;
        world.env[1].1 = "9500".to_owned();
        let failure = world.resolve().expect_err("no address");
        assert!(failure.to_string().starts_with("the environment variable P2P_CHAT_METRICS has"), "{failure}");
    }

    #[test]
    fn traces_are_off_unless_a_flag_the_environment_or_a_file_asks_for_them() {
        let mut world = World::new();
        let otlp = |world: &World| world.resolve().expect("resolved").otlp.map(|url| url.to_string());
        assert_eq!(otlp(&world), None);
        world.file(".config/p2p-chat/config.toml", "otlp = \"file:1\"");
        assert_eq!(otlp(&world).as_deref(), Some("http://file:1"));
        world.env.push(("P2P_CHAT_OTLP", "http://env:2".to_owned()));
        assert_eq!(otlp(&world).as_deref(), Some("http://env:2"));
        world.monitor.otlp = Some("flag:3".parse().expect("a URL"));
        assert_eq!(otlp(&world).as_deref(), Some("http://flag:3"));
        world.monitor.otlp = None;
        world.env[1].1 = "https://env:2".to_owned();
        let failure = world.resolve().expect_err("no plaintext");
        assert!(failure.to_string().starts_with("the environment variable P2P_CHAT_OTLP has"), "{failure}");
    }

    #[test]
    fn a_second_profile_has_its_own_directory_name_and_port() {
        let mut world = World::new();
        world.node.name = Some("é".repeat(64).parse().expect("a name"));
        world.node.listen = Some("0.0.0.0:7500".parse().expect("an address"));
        let first = world.resolve().expect("resolved");
        let second = first.profile(2).expect("a profile");
        assert_eq!(second.data_dir.display().to_string(), format!("{}-2", first.data_dir.display()));
        assert_eq!(second.name.to_string(), format!("{}-2", "é".repeat(62)));
        assert_eq!(second.listen, None);
        assert_eq!(first.profile(1).expect("a profile"), first);
    }
}
