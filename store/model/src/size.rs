//! Dyno sizes: names Heroku's users know, with limits that suit one machine.

use std::str::FromStr;

/// A dyno size. The number says memory; CPU is a weight, so that an idle machine gives all it has to whoever asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DynoSize {
    /// 512 MiB, half a share.
    Eco,
    /// 512 MiB, one share.
    Basic,
    /// 512 MiB, one share.
    #[default]
    Standard1X,
    /// 1 GiB, two shares.
    Standard2X,
    /// 2.5 GiB, eight shares.
    PerformanceM,
    /// 14 GiB, sixteen shares.
    PerformanceL,
}

/// Not a dyno size we know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no dyno size is named \"{0}\"; there are eco, basic, standard-1x, standard-2x, performance-m and performance-l")]
pub struct UnknownSize(pub String);

impl DynoSize {
    /// Every size, smallest first.
    pub const ALL: [Self; 6] = [Self::Eco, Self::Basic, Self::Standard1X, Self::Standard2X, Self::PerformanceM, Self::PerformanceL];

    /// Heroku's spelling, as the API returns it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eco => "Eco",
            Self::Basic => "Basic",
            Self::Standard1X => "Standard-1X",
            Self::Standard2X => "Standard-2X",
            Self::PerformanceM => "Performance-M",
            Self::PerformanceL => "Performance-L",
        }
    }

    /// Memory quota in bytes.
    pub fn memory_bytes(self) -> u64 {
        const MIB: u64 = 1024 * 1024;
        match self {
            Self::Eco | Self::Basic | Self::Standard1X => 512 * MIB,
            Self::Standard2X => 1024 * MIB,
            Self::PerformanceM => 2560 * MIB,
            Self::PerformanceL => 14 * 1024 * MIB,
        }
    }

    /// Relative CPU weight (cgroup v1 `cpu.shares`).
    pub fn cpu_shares(self) -> u64 {
        match self {
            Self::Eco => 512,
            Self::Basic | Self::Standard1X => 1024,
            Self::Standard2X => 2048,
            Self::PerformanceM => 8192,
            Self::PerformanceL => 16384,
        }
    }

    /// Most processes and threads (Heroku: 256 for the small sizes).
    pub fn pids(self) -> u64 {
        match self {
            Self::Eco | Self::Basic | Self::Standard1X => 256,
            Self::Standard2X => 512,
            Self::PerformanceM => 16384,
            Self::PerformanceL => 32768,
        }
    }
}

impl FromStr for DynoSize {
    type Err = UnknownSize;
    fn from_str(text: &str) -> Result<Self, UnknownSize> {
        let plain = text.to_ascii_lowercase().replace(['-', '_'], "");
        Self::ALL
            .into_iter()
            .find(|size| size.name().to_ascii_lowercase().replace('-', "") == plain)
            .ok_or_else(|| UnknownSize(text.chars().take(40).flat_map(char::escape_default).collect()))
    }
}

impl From<DynoSize> for String {
    fn from(size: DynoSize) -> String {
        size.name().to_owned()
    }
}

impl TryFrom<String> for DynoSize {
    type Error = UnknownSize;
    fn try_from(text: String) -> Result<Self, UnknownSize> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_parses_in_any_case() {
        for size in DynoSize::ALL {
            assert_eq!(size.name().parse::<DynoSize>().unwrap(), size);
            assert_eq!(size.name().to_lowercase().parse::<DynoSize>().unwrap(), size);
        }
        assert!("mega".parse::<DynoSize>().is_err());
    }
}
