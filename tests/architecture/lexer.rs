//! Rust text into tokens and comments, as far as the rules need it.
//!
//! Not here: what the tokens mean. `::` is one token, every other sign stands alone; a string, a
//! character or a number is a token without text, so nothing in it can be taken for code.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(begins_word)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) line: usize,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
}

pub(crate) fn lex(text: &str) -> Lexed {
    let mut lexer = Lexer {
        rest: text,
        line: 1,
        lexed: Lexed::default(),
    };
    while lexer.step() {}
    lexer.lexed
}

fn begins_word(sign: char) -> bool {
    sign.is_alphabetic() || sign == '_'
}

fn continues_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    lexed: Lexed,
}

impl<'a> Lexer<'a> {
    /// Takes one token, comment or blank off the rest; false at the end.
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else {
            return false;
        };
        if self.rest.starts_with("//") {
            self.comment(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.comment(block_comment_length(self.rest));
        } else if let Some(length) = string_length(self.rest) {
            self.token_without_text(length);
        } else if first == '\'' {
            self.quote();
        } else if first.is_ascii_digit() {
            self.token_without_text(word_length(self.rest));
        } else if begins_word(first) {
            // A raw identifier is no keyword, so it keeps its mark.
            let mark = if self.rest.starts_with("r#") { 2 } else { 0 };
            self.token(mark + word_length(&self.rest[mark..]));
        } else if self.rest.starts_with("::") {
            self.token(2);
        } else if first.is_whitespace() {
            self.take(first.len_utf8());
        } else {
            self.token(first.len_utf8());
        }
        true
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn token(&mut self, length: usize) {
        let line = self.line;
        let text = self.take(length).to_owned();
        self.lexed.tokens.push(Token { line, text });
    }

    fn token_without_text(&mut self, length: usize) {
        let line = self.line;
        self.take(length);
        self.lexed.tokens.push(Token {
            line,
            text: String::new(),
        });
    }

    fn comment(&mut self, length: usize) {
        let first_line = self.line;
        let text = self.take(length);
        let lines = text.lines().enumerate().map(|(place, text)| Comment {
            line: first_line + place,
            text: text.to_owned(),
        });
        self.lexed.comments.extend(lines);
    }

    /// A character literal, or a lifetime.
    fn quote(&mut self) {
        let mut signs = self.rest.char_indices().skip(1);
        match (signs.next(), signs.next()) {
            (Some((_, '\\')), Some((escaped, sign))) => {
                let after = escaped + sign.len_utf8();
                let closing = self.rest[after..]
                    .find('\'')
                    .map_or(after, |end| after + end + 1);
                self.token_without_text(closing);
            }
            (Some(_), Some((end, '\''))) => self.token_without_text(end + 1),
            _ => self.token_without_text(1 + word_length(&self.rest[1..])),
        }
    }
}

fn word_length(rest: &str) -> usize {
    rest.find(|sign| !continues_word(sign))
        .unwrap_or(rest.len())
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest[at..];
        let width = if here.starts_with("/*") {
            depth += 1;
            2
        } else if here.starts_with("*/") {
            depth -= 1;
            2
        } else {
            here.chars().next().map_or(1, char::len_utf8)
        };
        at += width;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string literal at the start of `rest`, with its prefix, if there is one.
fn string_length(rest: &str) -> Option<usize> {
    let prefix = rest
        .find(|sign| !matches!(sign, 'b' | 'c' | 'r'))
        .unwrap_or(rest.len());
    let (prefix, quoted) = rest.split_at(prefix);
    match prefix {
        "" | "b" | "c" => {
            let body = quoted.strip_prefix('"')?;
            let mut escaped = false;
            let end = body.find(|sign| {
                let ends = sign == '"' && !escaped;
                escaped = sign == '\\' && !escaped;
                ends
            });
            Some(prefix.len() + 1 + end.map_or(body.len(), |end| end + 1))
        }
        "r" | "br" | "cr" => {
            let hashes = quoted.find(|sign| sign != '#')?;
            let body = quoted[hashes..].strip_prefix('"')?;
            let closing = format!("\"{}", "#".repeat(hashes));
            let end = body
                .find(&closing)
                .map_or(body.len(), |end| end + closing.len());
            Some(prefix.len() + hashes + 1 + end)
        }
        _ => None,
    }
}
