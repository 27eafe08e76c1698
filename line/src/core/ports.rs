//! The ports that lines may have.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Ports from one to another, both included: `8200-8215`. Each is a line's TCP and UDP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Lines at the same time, at most: each of them may hold some megabytes and has tasks of its own.
const MOST: u16 = 64;

/// Why a text names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not ports: write FIRST-LAST, 1 to {MOST} ports from 1 to 65535, as in 8200-8215")]
pub struct BadPorts;

impl Default for Ports {
    fn default() -> Self {
        Self { first: 8_200, last: 8_215 }
    }
}

impl Ports {
    /// All of them, lowest first.
    pub(crate) const fn all(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for Ports {
    type Err = BadPorts;

    fn from_str(text: &str) -> Result<Self, BadPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| text.trim().parse::<u16>().map_err(|_| BadPorts);
        let (first, last) = (read(first)?, read(last)?);
        if first == 0 || last < first || last - first >= MOST {
            return Err(BadPorts);
        }
        Ok(Self { first, last })
    }
}

impl TryFrom<String> for Ports {
    type Error = BadPorts;

    fn try_from(text: String) -> Result<Self, BadPorts> {
        text.parse()
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> Self {
        ports.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        for (text, count) in [("8200-8215", 16), ("8200-8200", 1), ("65472-65535", 64)] {
            let ports: Ports = text.parse().unwrap();
            assert_eq!((ports.all().count(), ports.to_string().as_str()), (count, text));
        }
        assert_eq!("8200".parse::<Ports>().unwrap().to_string(), "8200-8200");
        assert_eq!(Ports::default().all().count(), 16);
        for bad in ["", "-", "0-5", "8215-8200", "8200-8264", "1-65536", "8200-", "a-b", "1-2-3"] {
            assert_eq!(bad.parse::<Ports>(), Err(BadPorts), "{bad:?}");
        }
    }
}
