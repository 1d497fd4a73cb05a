//! Names that are to be more than names to whoever shows them: to a terminal, in JSON, on a page.

/// They have no NUL.
pub(super) const NAMES: [&[u8]; 15] = [
    b"/bin/plain",
    // What steers a terminal: cleared, another title, colours, by one byte of C1, by its character, and the rubout.
    b"\x1b[2J\x1b[H\x1b]0;forged title\x07",
    b"\x9b31m\x9b2J",
    b"\xc2\x9b31mforged\xc2\x9d0;forged\xc2\x9c",
    b"real\x08\x08\x08\x08\x7f\x7fforged",
    // Lines of others.
    b"a\nforged line\r\ncordon: forged\r{\"type\":\"forged\"}\n",
    b"a\xe2\x80\xa8forged\xe2\x80\xa9forged\xc2\x85forged\x0bforged\x0c",
    // The end of a string.
    b"\"},{\"type\":\"forged\",\"x\":\"\\\"\\u0000\\",
    b"'$(forged)`forged`;forged|forged",
    // Elements of a page.
    b"</code></td><forged onload=forged>&forged;<!--",
    b"]]></style><forged src='forged' \"forged",
    b"<forged a='b' c=\"d\">&forged;&#39;",
    // Text that is shown in another order than it is written, and what is not seen at all.
    b"\xe2\x80\xaegnp.\xe2\x80\xacexe\xe2\x81\xa6\xd8\x9c\xe2\x80\x8f",
    // No text.
    b"\xff\xfe\x80\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80",
    b"\xe2\x82",
];
