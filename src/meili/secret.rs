//! A secret as the engine shows it: the longer it is, the more of its beginning.

/// Example: `abcdefghijklmnop` is shown as `abXXXX...`.
pub fn masked(secret: &str) -> String {
    let (shown, marks) = match secret.len() {
        0..10 => (0, "XXX..."),
        10..20 => (2, "XXXX..."),
        20..30 => (3, "XXXXX..."),
        _ => (5, "XXXXXX..."),
    };
    let end = (shown..=secret.len()).find(|at| secret.is_char_boundary(*at)).unwrap_or(secret.len());
    format!("{}{marks}", &secret[..end])
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_long_secret_shows_its_beginning_and_no_half_letter() {
        for (secret, shown) in [
            ("", "XXX..."),
            ("short", "XXX..."),
            ("abcdefghijklmnop", "abXXXX..."),
            ("éééééééééééé", "ééXXXXX..."),
            ("kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", "kkkkkXXXXXX..."),
        ] {
            assert_eq!(masked(secret), shown, "{secret}");
        }
    }
}
