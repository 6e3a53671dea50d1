//! A filter that can be killed: the real module with a trap put in front of one of its callbacks. The filter itself has no way to
//! be made to fail, so this is how a lost VM is had.

use anyhow::{Context as _, Result, ensure};

/// A call with more headers than this kills the VM that sees it.
pub const DEADLY_HEADERS: u8 = 60;

const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;

/// `module` with a trap for calls with more than [`DEADLY_HEADERS`] headers, at the start of `proxy_on_request_headers`.
///
/// # Errors
/// If it is not a module of the kind that our build makes.
pub fn poisoned(module: &[u8]) -> Result<Vec<u8>> {
    let (magic, mut rest) = module.split_at_checked(8).context("no module")?;
    ensure!(magic.starts_with(b"\0asm"), "no module");
    let mut sections = Vec::new();
    while let Some((kind, tail)) = rest.split_first() {
        let mut reader = Reader(tail);
        let length = reader.number()?;
        sections.push((*kind, reader.take(length)?));
        rest = reader.0;
    }
    let section = |wanted: u8| sections.iter().find(|(kind, _)| *kind == wanted).map(|(_, content)| *content);
    let imported = imported_functions(section(IMPORTS).context("no imports")?)?;
    let index = exported_function(section(EXPORTS).context("no exports")?, b"proxy_on_request_headers")?;
    let place = index.checked_sub(imported).context("the callback is imported")?;
    let mut out = magic.to_vec();
    for (kind, content) in sections {
        let content = if kind == CODE { with_trap(content, place)? } else { content.to_vec() };
        out.push(kind);
        put_number(&mut out, content.len());
        out.extend_from_slice(&content);
    }
    Ok(out)
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8]> {
        let (head, rest) = self.0.split_at_checked(length).context("the module is cut")?;
        self.0 = rest;
        Ok(head)
    }

    /// An unsigned LEB128.
    fn number(&mut self) -> Result<usize> {
        let mut number = 0_usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        anyhow::bail!("a number of the module is too long")
    }

    fn name(&mut self) -> Result<&'b [u8]> {
        let length = self.number()?;
        self.take(length)
    }
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn imported_functions(content: &[u8]) -> Result<usize> {
    let mut reader = Reader(content);
    let count = reader.number()?;
    for _ in 0..count {
        reader.name()?;
        reader.name()?;
        ensure!(reader.take(1)? == [0], "the module imports more than functions");
        reader.number()?;
    }
    Ok(count)
}

fn exported_function(content: &[u8], wanted: &[u8]) -> Result<usize> {
    let mut reader = Reader(content);
    for _ in 0..reader.number()? {
        let name = reader.name()?;
        let kind = reader.take(1)?;
        let index = reader.number()?;
        if name == wanted && kind == [0] {
            return Ok(index);
        }
    }
    anyhow::bail!("the module has no `{}`", wanted.escape_ascii())
}

/// The code section with the trap at the start of one function's instructions.
fn with_trap(content: &[u8], place: usize) -> Result<Vec<u8>> {
    // if parameter 1 (how many headers) > DEADLY_HEADERS { unreachable }
    let trap = [0x20, 1, 0x41, DEADLY_HEADERS & 0x3f, 0x4b, 0x04, 0x40, 0x00, 0x0b];
    let mut reader = Reader(content);
    let count = reader.number()?;
    ensure!(place < count, "the callback has no code");
    let mut out = Vec::with_capacity(content.len() + 16);
    put_number(&mut out, count);
    for at in 0..count {
        let body = reader.name()?;
        if at != place {
            put_number(&mut out, body.len());
            out.extend_from_slice(body);
            continue;
        }
        let mut inner = Reader(body);
        for _ in 0..inner.number()? {
            inner.number()?;
            inner.take(1)?;
        }
        let (locals, instructions) = body.split_at_checked(body.len() - inner.0.len()).context("cut code")?;
        put_number(&mut out, body.len() + trap.len());
        for part in [locals, &trap, instructions] {
            out.extend_from_slice(part);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trap_stands_before_the_first_instruction() {
        // One imported function, one of its own with two locals: `nop end`.
        let import = [1, 1, b'e', 1, b'f', 0, 0];
        let name = b"proxy_on_request_headers";
        let mut export = vec![1, u8::try_from(name.len()).unwrap()];
        export.extend_from_slice(name);
        export.extend_from_slice(&[0, 1]);
        let code = [1, 5, 1, 2, 0x7f, 0x01, 0x0b];
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (kind, content) in [(2, &import[..]), (7, &export), (10, &code)] {
            module.push(kind);
            put_number(&mut module, content.len());
            module.extend_from_slice(content);
        }
        let poisoned = poisoned(&module).unwrap();
        let trap = [0x20, 1, 0x41, DEADLY_HEADERS, 0x4b, 0x04, 0x40, 0x00, 0x0b];
        assert!(poisoned.ends_with(&[&[10, 16, 1, 14, 1, 2, 0x7f][..], &trap, &[0x01, 0x0b]].concat()), "{poisoned:?}");
        assert!(super::poisoned(b"\0asm\x01\0\0\0").is_err() && super::poisoned(b"").is_err());
    }
}
