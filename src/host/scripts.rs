//! The PowerShell scripts that run on Windows, each put together from whole files.
//!
//! A script is one file on Windows, because what an elevated program runs must be one
//! thing with one hash; here scripts share `windows/lib/`, a file for each subject. They
//! are part of this program: script and agent cannot differ in version.

/// A script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Makes Windows' forwards those that the agent asks for.
    Refresh,
    /// Makes the forwards of one Windows user those that were selected, as SYSTEM.
    Forward,
    /// Installs, removes and examines the Windows side, without rights.
    Host,
    /// What [`Script::Host`] has done with administrator rights.
    Setup,
    /// Looks at one port, without rights.
    Port,
}

/// Joins files, each ended by an empty line. A script's own file comes first: only
/// comments may stand before its parameters. The last one starts it.
macro_rules! script {
    ($($file:literal),+ $(,)?) => {
        concat!($(include_str!(concat!("windows/", $file, ".ps1")), "\n"),+)
    };
}

const REFRESH: &str = script!(
    "refresh",
    "lib/json",
    "lib/policy",
    "lib/portproxy",
    "lib/firewall",
    "lib/task",
    "lib/registry",
    "lib/files",
    "lib/network",
    "lib/io",
);

const FORWARD: &str = script!(
    "forward",
    "lib/json",
    "lib/policy",
    "lib/portproxy",
    "lib/firewall",
    "lib/registry",
    "lib/files",
    "lib/network",
    "lib/io",
);

const HOST: &str = script!(
    "host",
    "loader",
    "lib/json",
    "lib/policy",
    "lib/portproxy",
    "lib/firewall",
    "lib/task",
    "lib/checks",
    "lib/registry",
    "lib/files",
    "lib/network",
    "lib/io",
);

const SETUP: &str = script!(
    "setup",
    "lib/json",
    "lib/policy",
    "lib/portproxy",
    "lib/firewall",
    "lib/task",
    "lib/registry",
    "lib/files",
    "lib/network",
    "lib/io",
);

const PORT: &str = script!(
    "port",
    "lib/json",
    "lib/policy",
    "lib/portproxy",
    "lib/firewall",
    "lib/registry",
    "lib/files",
    "lib/network",
    "lib/io",
);

impl Script {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Refresh,
        Self::Forward,
        Self::Host,
        Self::Setup,
        Self::Port,
    ];

    const fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Refresh => ("refresh.ps1", REFRESH),
            Self::Forward => ("forward.ps1", FORWARD),
            Self::Host => ("host.ps1", HOST),
            Self::Setup => ("setup.ps1", SETUP),
            Self::Port => ("port.ps1", PORT),
        }
    }

    /// Its file's name on Windows.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        self.file().0
    }

    /// Its text as Windows gets it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.file().1
    }

    /// The one line for `powershell.exe -Command` that reads this script from standard
    /// input and calls it. It is fixed but for the script's length. Prints an empty line
    /// when it calls the script; where a policy forbids that, `wslmesh <language mode>
    /// <scope>=<policy>,...` and no more.
    #[must_use]
    pub fn command(self) -> String {
        let size = format!("$size = {};", self.text().len());
        let lines = COMMAND.lines().map(str::trim);
        let lines = lines.filter(|line| !line.starts_with('#'));
        let lines: Vec<_> = [size.as_str()].into_iter().chain(lines).collect();
        lines.join(" ")
    }
}

const COMMAND: &str = include_str!("windows/command.ps1");
