//! Small files in MaxMind's format, written byte by byte after its specification (version 2.0).

use std::net::Ipv4Addr;

/// A value of the data section.
enum Item {
    Text(&'static str),
    Number(u32),
    Map(Vec<(&'static str, Item)>),
}

use Item::{Map, Number, Text};

/// The control byte of a type above 7 has the type in a byte of its own.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 29 + 256, "longer sizes have more bytes");
    let first = size.min(29) as u8;
    if kind <= 7 {
        out.push((kind << 5) | first)
    } else {
        out.extend([first, kind - 7])
    }
    if size >= 29 {
        out.push((size - 29) as u8);
    }
}

fn write(item: &Item, out: &mut Vec<u8>) {
    match item {
        Text(text) => {
            control(2, text.len(), out);
            out.extend(text.as_bytes());
        }
        Number(number) => {
            control(6, 4, out);
            out.extend(number.to_be_bytes());
        }
        Map(pairs) => {
            control(7, pairs.len(), out);
            for (key, value) in pairs {
                write(&Text(key), out);
                write(value, out);
            }
        }
    }
}

fn unsigned(kind: u8, number: u64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let bytes = &bytes[bytes.iter().position(|byte| *byte != 0).unwrap_or(8)..];
    control(kind, bytes.len(), out);
    out.extend(bytes);
}

/// A node of the tree: for each bit another node, a record, or nothing.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    Node(usize),
    Record(usize),
}

/// A file with these IPv4 prefixes.
fn file(kind: &'static str, networks: &[([u8; 4], u32, Item)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut tree = vec![[Next::Nothing; 2]];
    for (address, length, item) in networks {
        let record = data.len();
        write(item, &mut data);
        let bits = u32::from(Ipv4Addr::from(*address));
        let mut node = 0;
        for depth in 0..*length {
            let bit = (bits >> (31 - depth) & 1) as usize;
            if depth + 1 == *length {
                tree[node][bit] = Next::Record(record);
            } else if let Next::Node(next) = tree[node][bit] {
                node = next;
            } else {
                tree[node][bit] = Next::Node(tree.len());
                node = tree.len();
                tree.push([Next::Nothing; 2]);
            }
        }
    }
    let mut out = Vec::new();
    for sides in &tree {
        for side in sides {
            let number = match side {
                Next::Nothing => tree.len(),
                Next::Node(node) => *node,
                Next::Record(place) => tree.len() + 16 + place,
            };
            out.extend(&(number as u32).to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    control(7, 9, &mut out);
    let numbers: [(&str, u8, u64); 6] = [
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("build_epoch", 9, 1_700_000_000),
        ("ip_version", 5, 4),
        ("node_count", 6, tree.len() as u64),
        ("record_size", 5, 24),
    ];
    for (name, kind, number) in numbers {
        write(&Text(name), &mut out);
        unsigned(kind, number, &mut out);
    }
    write(&Text("database_type"), &mut out);
    write(&Text(kind), &mut out);
    write(&Text("description"), &mut out);
    write(&Map(vec![("en", Text("test"))]), &mut out);
    write(&Text("languages"), &mut out);
    control(11, 1, &mut out);
    write(&Text("en"), &mut out);
    out
}

/// Germany has 10.0.0.0/24 and 10.0.2.0/24, France 10.0.1.0/24 by code alone.
pub(crate) fn countries() -> Vec<u8> {
    let germany = || {
        let names = Map(vec![("de", Text("Deutschland")), ("en", Text("Germany"))]);
        Map(vec![("country", Map(vec![("iso_code", Text("DE")), ("names", names)]))])
    };
    let france = Map(vec![("registered_country", Map(vec![("iso_code", Text("FR"))]))]);
    file(
        "Test-Country",
        &[([10, 0, 0, 0], 24, germany()), ([10, 0, 1, 0], 24, france), ([10, 0, 2, 0], 24, germany())],
    )
}

/// AS 64500 has 10.0.0.0/16, AS 64501 has 10.9.0.0/16 and no name.
pub(crate) fn systems() -> Vec<u8> {
    let named = Map(vec![
        ("autonomous_system_number", Number(64500)),
        ("autonomous_system_organization", Text("Example Networks")),
    ]);
    let nameless = Map(vec![("autonomous_system_number", Number(64501))]);
    file("Test-ASN", &[([10, 0, 0, 0], 16, named), ([10, 9, 0, 0], 16, nameless)])
}
