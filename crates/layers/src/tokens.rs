//! Rust cut into words.

/// One word of Rust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name or a keyword.
    Name(String),
    /// `::`
    Path,
    /// Any other single character that is not a space.
    Mark(char),
    /// A literal; what it says is nobody's business here.
    Literal,
}

/// A word, and the line on which it stands, from 1.
#[derive(Debug, Clone)]
pub struct Word {
    pub token: Token,
    pub line: usize,
}

/// Cuts `text` into words. Comments are left out.
pub fn words(text: &str) -> Vec<Word> {
    let chars: Vec<char> = text.chars().collect();
    let mut cutter = Cutter { chars: &chars, at: 0, line: 1, words: Vec::new() };
    while cutter.at < chars.len() {
        cutter.step();
    }
    cutter.words
}

struct Cutter<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
    words: Vec<Word>,
}

impl Cutter<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            if self.peek(0) == '\n' {
                self.line += 1;
            }
            self.at += 1;
        }
    }

    fn push(&mut self, token: Token) {
        self.words.push(Word { token, line: self.line });
    }

    fn step(&mut self) {
        let c = self.peek(0);
        match (c, self.peek(1)) {
            (c, _) if c.is_whitespace() => self.skip(1),
            ('/', '/') => self.line_comment(),
            ('/', '*') => self.block_comment(),
            (':', ':') => {
                self.push(Token::Path);
                self.skip(2);
            }
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (c, _) if c.is_alphabetic() || c == '_' => self.name(),
            (c, _) if c.is_ascii_digit() => self.number(),
            (c, _) => {
                self.push(Token::Mark(c));
                self.skip(1);
            }
        }
    }

    fn line_comment(&mut self) {
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.skip(1);
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.skip(1);
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.push(Token::Literal);
        self.skip(1);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            let escaped = self.peek(0) == '\\';
            self.skip(if escaped { 2 } else { 1 });
        }
        self.skip(1);
    }

    /// `r"…"` and `r#"…"#`, `at` being on the first `#` or `"`.
    fn raw_string(&mut self) {
        self.push(Token::Literal);
        let mut fences = 0;
        while self.peek(0) == '#' {
            fences += 1;
            self.skip(1);
        }
        self.skip(1);
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=fences).all(|ahead| self.peek(ahead) == '#');
            if closes {
                return self.skip(1 + fences);
            }
            self.skip(1);
        }
    }

    /// A character, or a lifetime: `'a'` and `'a`.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.push(Token::Literal);
            self.skip(3);
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.skip(1);
            }
            self.skip(1);
        } else if self.peek(2) == '\'' {
            self.push(Token::Literal);
            self.skip(3);
        } else {
            self.skip(1);
            while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
                self.skip(1);
            }
        }
    }

    fn name(&mut self) {
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.skip(1);
        }
        let name: String = self.chars[start..self.at].iter().collect();
        let opens_raw = |cutter: &Self| {
            let fences = (0..).take_while(|ahead| cutter.peek(*ahead) == '#').count();
            cutter.peek(fences) == '"'
        };
        match name.as_str() {
            "r" | "br" | "cr" if opens_raw(self) => self.raw_string(),
            // A raw name: `r#type`.
            "r" if self.peek(0) == '#' => self.skip(1),
            "b" | "c" if self.peek(0) == '"' => self.string(),
            "b" if self.peek(0) == '\'' => self.quote(),
            _ => self.push(Token::Name(name)),
        }
    }

    fn number(&mut self) {
        self.push(Token::Literal);
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.skip(1);
        }
    }
}

#[test]
fn words_are_cut_where_rust_cuts_them() {
    let names = |text: &str| -> Vec<String> {
        let name = |word: Word| if let Token::Name(name) = word.token { Some(name) } else { None };
        words(text).into_iter().filter_map(name).collect()
    };
    assert_eq!(names("a::b // c\n/* d /* e */ f */ g"), ["a", "b", "g"]);
    assert_eq!(names(r##"x("use no::one", r#"use "no" one"#, b"no", 'n', '\'', &'static y)"##), ["x", "y"]);
    assert_eq!(names("for<'a> fn(&'a str) -> '\\u{1F600}'"), ["for", "fn", "str"]);
    assert_eq!(words("a\n\"x\ny\"\nb").last().map(|word| word.line), Some(4));
}
