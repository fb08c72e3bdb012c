//! The host's identity: the firmware's UUID where it may be read, else one made of the machine id.

use super::{Roots, text};

/// The name space of identities that are made of machine ids.
const NAME_SPACE: [u8; 16] =
    [0x7c, 0x1d, 0x5a, 0x0e, 0x3f, 0x52, 0x4c, 0x6b, 0x9a, 0x84, 0x2e, 0x6d, 0x10, 0xb3, 0x95, 0xf7];

/// The firmware's UUID (root alone may read it); else a UUID of version 5 (RFC 9562) made of `/etc/machine-id`, which
/// itself is not to be sent over a network (machine-id(5)); else zero.
pub(super) fn of_host(roots: &Roots) -> [u8; 16] {
    let firmware = text(&roots.sys.join("class/dmi/id/product_uuid")).and_then(|text| parse(text.trim()));
    let machine = || text(&roots.etc.join("machine-id")).and_then(|text| parse(text.trim()));
    firmware.or_else(|| machine().map(|id| version_5(NAME_SPACE, &id))).unwrap_or_default()
}

/// 32 hexadecimal digits, dashes wherever; none if it has but one digit, as firmware without an identity says.
pub(crate) fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let first = digits.chars().next()?;
    if digits.len() != 32 || digits.chars().all(|c| c == first) || digits.starts_with('+') {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

fn version_5(space: [u8; 16], name: &[u8]) -> [u8; 16] {
    let [a, b, c, d, _] = sha1(&[&space, name].concat());
    let digest = [a, b, c, d].map(u32::to_be_bytes);
    let mut uuid = u128::from_be_bytes(digest.as_flattened().try_into().unwrap_or_default());
    uuid = (uuid & !(0xf << 76)) | (5 << 76);
    uuid = (uuid & !(0x3 << 62)) | (0x2 << 62);
    uuid.to_be_bytes()
}

/// SHA-1 (RFC 3174), for names only: nothing rests on its strength.
fn sha1(message: &[u8]) -> [u32; 5] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((message.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((message.len() as u64 * 8).to_be_bytes());
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.as_chunks::<64>().0 {
        let mut words: Vec<u32> =
            block.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        for t in 16..80 {
            let mixed =
                [3, 8, 14, 16].iter().filter_map(|back| words.get(t - back)).fold(0, |mix, word| mix ^ word);
            words.push(mixed.rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (t, word) in words.iter().enumerate() {
            let (mix, constant) = match t / 20 {
                0 => ((b & c) | (!b & d), 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next =
                a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(*word).wrapping_add(constant);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(part);
        }
    }
    state
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_standard() {
        assert_eq!(sha1(b"abc"), [0xa999_3e36, 0x4706_816a, 0xba3e_2571, 0x7850_c26c, 0x9cd0_d89d]);
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(sha1(two_blocks), [0x8498_3e44, 0x1c3b_d26e, 0xbaae_4aa1, 0xf951_29e5, 0xe546_70f1]);
    }

    #[test]
    fn a_uuid_of_the_standard() {
        let dns = parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8").unwrap();
        assert_eq!(
            version_5(dns, b"www.example.com"),
            parse("2ed6657d-e927-568b-95e1-2665a8aea6a2").unwrap()
        );
    }

    #[test]
    fn the_firmware_comes_first_and_the_machine_id_is_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let roots =
            Roots { sys: folder.path().join("sys"), etc: folder.path().join("etc"), ..Roots::default() };
        assert_eq!(of_host(&roots), [0; 16]);
        std::fs::create_dir_all(&roots.etc).unwrap();
        std::fs::write(roots.etc.join("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        let made = of_host(&roots);
        assert_ne!(made, parse("0123456789abcdef0123456789abcdef").unwrap());
        assert_eq!((made[6] >> 4, made[8] >> 6), (5, 2));
        let dmi = roots.sys.join("class/dmi/id");
        std::fs::create_dir_all(&dmi).unwrap();
        std::fs::write(dmi.join("product_uuid"), "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n").unwrap();
        assert_eq!(of_host(&roots), made, "firmware that has none");
        std::fs::write(dmi.join("product_uuid"), "6571e19b-6571-519b-a571-e19b6571e19b\n").unwrap();
        assert_eq!(of_host(&roots)[..4], [0x65, 0x71, 0xe1, 0x9b]);
    }
}
