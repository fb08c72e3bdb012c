//! Names of interfaces and lists of queues, as files and command lines have them.

use super::settings::{Raw, expected, text};

/// The longest name of an interface, bytes.
const LONGEST_NAME: usize = 15;

/// A name that an interface may have.
pub(super) fn interface(raw: &Raw) -> Result<String, String> {
    let name = text(raw)?;
    let odd = |c: char| c.is_whitespace() || c == '/' || c == ':' || c.is_control();
    if name.is_empty() || name.len() > LONGEST_NAME || name.contains(odd) || name == "." || name == ".." {
        return Err(format!("{name:?} is no name of an interface, such as eth0"));
    }
    Ok(name)
}

/// Queues that can be named at most, and the number after the largest.
const MOST_QUEUES: usize = 256;
const QUEUES: u32 = 65_536;

/// Queues as a text (`0-3,6`, or `all`), a number or a list of numbers, in ascending order; empty for all.
pub(super) fn queues(raw: &Raw) -> Result<Vec<u32>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("{what} is no list of queues, such as 0-3,6");
    let number = |number: i64| u32::try_from(number).ok().filter(|queue| *queue < QUEUES);
    let mut queues = match raw {
        Raw::Text(text) if text == "all" => return Ok(Vec::new()),
        Raw::Text(text) => queues_of(text).ok_or_else(|| wrong(&format_args!("{text:?}")))?,
        Raw::Number(one) => vec![number(*one).ok_or_else(|| wrong(one))?],
        Raw::List(list) => list
            .iter()
            .map(|one| match one {
                Raw::Number(one) => number(*one).ok_or_else(|| wrong(one)),
                other => Err(expected("a number", other)),
            })
            .collect::<Result<_, _>>()?,
        other => return Err(expected("a list of queues, such as \"0-3,6\",", other)),
    };
    if queues.is_empty() {
        return Err("is empty: name a queue, or leave it out for all of them".to_owned());
    }
    queues.sort_unstable();
    if let Some((twice, _)) = queues.iter().zip(queues.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(format!("queue {twice} is named twice"));
    }
    if queues.len() > MOST_QUEUES {
        return Err(format!("{} queues are named; {MOST_QUEUES} are allowed", queues.len()));
    }
    Ok(queues)
}

fn queues_of(text: &str) -> Option<Vec<u32>> {
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|queue| *queue < QUEUES);
    let mut queues = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        queues.extend(first..=last);
    }
    Some(queues)
}

/// Numbers in ascending order, those in a row as a range.
pub fn ranges(numbers: &[u32]) -> String {
    let rows = numbers.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let row = |row: &[u32]| match row {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    rows.map(row).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn queues_are_ranges_numbers_or_lists() {
        let text = |text: &str| queues(&Raw::Text(text.to_owned()));
        assert_eq!(text("0-3,6").unwrap(), [0, 1, 2, 3, 6]);
        assert_eq!(text(" 6, 1 - 2").unwrap(), [1, 2, 6]);
        assert!(text("all").unwrap().is_empty());
        assert_eq!(queues(&Raw::Number(7)).unwrap(), [7]);
        let list = |numbers: &[i64]| queues(&Raw::List(numbers.iter().copied().map(Raw::Number).collect()));
        assert_eq!(list(&[2, 0]).unwrap(), [0, 2]);
        for wrong in ["", "-", "3-1", "0-", "a", "0,,1", "65536", "-1", "0-4294967295"] {
            assert!(text(wrong).unwrap_err().contains("is no list of queues"), "{wrong}");
        }
        assert_eq!(text("0-2,1").unwrap_err(), "queue 1 is named twice");
        assert!(text("0-65535").unwrap_err().contains("256 are allowed"));
        assert!(list(&[]).unwrap_err().contains("is empty"));
        assert!(list(&[-1]).unwrap_err().contains("-1 is no list"));
        assert_eq!(ranges(&[0, 1, 2, 3, 6, 8, 9]), "0-3,6,8-9");
    }

    #[test]
    fn a_name_that_no_interface_can_have_is_refused() {
        for name in ["", "a name", "eth0/1", "eth0:1", "..", "a_name_of_16_bytes"] {
            assert!(interface(&Raw::Text(name.into())).unwrap_err().contains("is no name of an interface"));
        }
        assert_eq!(interface(&Raw::Text("enp3s0f0np0.100".into())).unwrap(), "enp3s0f0np0.100");
    }
}
