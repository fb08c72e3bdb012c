//! A few samples of every kind, which compiled definitions take.

use std::collections::BTreeMap;
use std::sync::Arc;

use decode::packet::dissect;
use decode::rt::{FlowValue, RtFlow};
use decode::sample::Interface;
use decode::xdr::Writer;
use decode::{DataSource, Mac, Records};
use serde_json::json;
use tables::flow::group::{GroupSet, ValueMap};
use tables::flow::keys::{Basics, Sampled};
use tables::flow::layout::MOST_WORDS;
use tables::flow::learned::Learned;
use tables::flow::reference::{References, Vendors};
use tables::flow::texts::Texts;
use tables::flow::{FlowPlan, Lookups};

/// What definitions may look up.
pub fn lookups() -> Lookups {
    let set = GroupSet::from_json(&json!({"a": ["10.0.0.0/8", "fe80::/10"], "10 b": ["10.1.0.0/16"]}));
    let set = Arc::new(set.expect("a group set"));
    let map = Arc::new(ValueMap::from_json(&json!({"web": [80, 443]})).expect("a map"));
    let vendors = Vendors::read("02:00:00\tShort\tLong\n").expect("a vendor");
    Lookups {
        groups: BTreeMap::from([
            ("g".to_owned(), Arc::clone(&set)),
            ("default".to_owned(), Arc::clone(&set)),
        ]),
        maps: BTreeMap::from([("m".to_owned(), map)]),
        references: References {
            country: Some(Arc::clone(&set)),
            asn: Some(set),
            oui: Some(Arc::new(vendors)),
            dns: true,
        },
        ..Lookups::default()
    }
}

/// An Ethernet frame with a tag, IPv4 and TCP.
const TCP: [u8; 58] = [
    4, 0, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0, 0xaa, 0x81, 0, 0xa0, 30, 8, 0, 0x45, 0xb9, 3, 0xd6, 0, 1, 0x40, 0,
    63, 6, 0, 0, 10, 0, 0, 1, 10, 1, 0, 2, 0x9c, 0x40, 1, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0, 0, 0,
    0, 0, 0,
];

/// An HTTP request: format 0:2206, its length, and fields.
fn operation() -> Vec<u8> {
    let mut body = Vec::new();
    let word = |body: &mut Vec<u8>, word: u32| body.extend(word.to_be_bytes());
    word(&mut body, 2);
    word(&mut body, 1001);
    for text in [b"/a/b?c=1".as_slice(), b"a.example\xff..."] {
        word(&mut body, text.len() as u32);
        body.extend(text);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let mut record = Vec::new();
    word(&mut record, 2206);
    word(&mut record, body.len() as u32);
    record.extend(body);
    record
}

/// Calls `take` with a packet, an operation and a custom flow.
pub fn each(mut take: impl FnMut(&Sampled<'_>)) {
    let (learned, arena, empty) = (Learned::default(), bumpalo::Bump::new(), dissect(0, &[]));
    let packet = dissect(1, &TCP);
    let operation = operation();
    let mut buffer = [0; 512];
    let mut writer = Writer::new(&mut buffer);
    let fields: [(&[u8], FlowValue<'_>); 5] = [
        (b"user", FlowValue::Text(b"alice,\xffbob")),
        (b"ipsource", FlowValue::Ip6([9; 16].into())),
        (b"station", FlowValue::Mac(Mac([2; 6]))),
        (b"bytes", FlowValue::Double(f64::NAN)),
        (b"items", FlowValue::Int64(u64::MAX)),
    ];
    RtFlow::write(b"app", 1, 0, &fields, &mut writer).expect("it fits");
    let length = writer.len();
    let custom = RtFlow::parse(&buffer[..length]).expect("what was written can be read");
    let told = Basics { ethernet: Some(Default::default()), ..Basics::default() };
    let sample = Sampled {
        agent: &decode::Address::Unknown,
        source: DataSource { class: 0, index: 7 },
        input: Interface::index(7),
        output: Interface { format: 2, value: 3 },
        frame_length: 1004,
        stripped: 4,
        reason: Some(257),
        packet: &packet,
        basics: None,
        records: Records::default(),
        switch: None,
        custom: None,
        learned: &learned,
        arena: &arena,
    };
    take(&sample);
    take(&Sampled { packet: &empty, records: Records::new(&operation, 1), ..sample });
    take(&Sampled { packet: &empty, basics: Some(&told), ..sample });
    take(&Sampled { packet: &empty, custom: Some(custom), ..sample });
}

/// Evaluates a definition, packs the key, and shows it.
pub fn take(plan: &FlowPlan, sampled: &Sampled<'_>) {
    let Some((atoms, measures)) = plan.evaluate(sampled, &ahash::RandomState::new()) else { return };
    // Places beyond the definition's measures stay empty.
    assert!(measures.iter().skip(plan.measures.len()).all(|measure| *measure == 0), "{measures:?}");
    let mut texts = Texts::new(1 << 16);
    let mut key = [0; MOST_WORDS];
    if plan.layout.pack(&atoms, &mut key, &mut texts).is_none() {
        // Only a custom flow may have a field of another kind than the key that has its name.
        assert!(sampled.custom.is_some(), "{atoms:?}");
        return;
    }
    tables::flow::atom::key_text(&plan.layout.portable(&key, &texts), &plan.spec.fs);
    plan.layout.release(&key, &mut texts);
    assert_eq!(texts.len(), 0, "texts are given back");
}

/// Whether a filter lets a sample through.
#[allow(dead_code, reason = "one of the two targets asks")]
pub fn passes(plan: &FlowPlan, sampled: &Sampled<'_>) -> bool {
    plan.evaluate(sampled, &ahash::RandomState::new()).is_some()
}
