//! File names as text, without loss: different names have different texts, whatever bytes they contain.

/// Stand-ins for bytes that are no UTF-8: this plus the byte. The range is private (Unicode, section 23.5).
const STAND_IN: u32 = 0xf700;

/// A name as text. Bytes that are not UTF-8 become stand-ins, and so do the bytes of a stand-in character in the name.
pub(super) fn text_of(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if (STAND_IN..STAND_IN + 256).contains(&u32::from(c)) {
                let mut bytes = [0; 4];
                text.extend(c.encode_utf8(&mut bytes).bytes().filter_map(stand_in));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
    }
    text
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(STAND_IN + u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        assert_eq!(text_of(b"/etc/systemd/system/a\\x2db.service"), "/etc/systemd/system/a\\x2db.service");
        assert_eq!(text_of("/home/Jürgen".as_bytes()), "/home/Jürgen");
    }

    proptest! {
        #[test]
        fn different_names_have_different_texts(
            one in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xef), Just(0x9c), Just(0xbf)], 0..8),
            two in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xef), Just(0x9c), Just(0xbf)], 0..8),
        ) {
            prop_assert_eq!(one == two, text_of(&one) == text_of(&two));
        }
    }
}
