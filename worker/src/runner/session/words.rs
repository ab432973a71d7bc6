//! What is said over the streams of a session: a request and its answer, a line of JSON each. Pure.

use std::path::PathBuf;

use domain::id::{Attempt, Quarter, StarId};
use serde::{Deserialize, Serialize};

use super::super::{Exit, INPUT, OUTPUT, PARAMETERS};
use super::RequestSubject;

/// Most of what is no answer that a log shows, in characters.
const SHOWN: usize = 500;

/// A request as the program gets it.
#[derive(Serialize)]
struct StarRequest<'a> {
    id: &'a str,
    star: StarId,
    quarter: Quarter,
    input: PathBuf,
    output: PathBuf,
    parameters: PathBuf,
    seed: u64,
    attempt: Attempt,
}

/// Its answer.
#[derive(Deserialize)]
struct StarAnswer {
    id: String,
    exit: i64,
    #[serde(default)]
    message: String,
}

/// The first line that a program says.
#[derive(Deserialize)]
struct ReadyLine {
    ready: i64,
}

/// What came of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// An answer, and its message.
    Code(i64, String),
    /// It ended by itself, or must be stopped.
    Over(Exit),
    /// Something that is no answer; which, and what was expected.
    Nonsense(String),
}

/// The line of a request with this number, to a program that finds `in` and `out` there.
pub(super) fn request(id: &str, subject: RequestSubject, number: u32, inside: &[PathBuf; 2]) -> Vec<u8> {
    let RequestSubject { star, quarter, attempt, seed } = subject;
    let [input, output] = inside.each_ref().map(|folder| folder.join(number.to_string()));
    let (parameters, input, output) = (input.join(PARAMETERS), input.join(INPUT), output.join(OUTPUT));
    let request = StarRequest { id, star, quarter, input, output, parameters, seed, attempt };
    let mut line = serde_json::to_vec(&request).expect("a request is JSON");
    line.push(b'\n');
    line
}

/// Whether a line says that the program is ready.
pub(super) fn is_ready(line: &[u8]) -> bool {
    serde_json::from_slice(line).is_ok_and(|ReadyLine { ready }| ready == 1)
}

/// What a line is as an answer to this request.
pub(super) fn reply(id: &str, line: &[u8]) -> Reply {
    match serde_json::from_slice(line) {
        Ok(StarAnswer { id: of, exit, message }) if of == id => Reply::Code(exit, message),
        Ok(_) => nonsense(line, &format!("the answer to the request with id {id}")),
        Err(error) => nonsense(line, &format!("an answer, one line of JSON ({error}),")),
    }
}

/// Something was said that is not what was expected.
pub(super) fn nonsense(line: &[u8], expected: &str) -> Reply {
    Reply::Nonsense(format!("expected {expected} on stdout{}", instead(line)))
}

/// What was said in the place of something, for people.
pub(super) fn instead(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    match said.trim_end() {
        "" => String::new(),
        said => format!(", got: {}", said.chars().take(SHOWN).collect::<String>()),
    }
}

/// What the exit code in an answer means: the same as that of a container.
pub(super) fn exit_of(code: i64) -> Exit {
    match i32::try_from(code - 128) {
        Ok(signal @ 1..=64) => Exit::Signal(signal),
        Ok(_) | Err(_) => Exit::Code(code),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const STAR: &str = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7";

    #[test]
    fn a_request_is_the_line_that_the_contract_promises() {
        let subject = RequestSubject {
            star: STAR.parse().unwrap(),
            quarter: 3.try_into().unwrap(),
            attempt: Attempt(2),
            seed: u64::MAX,
        };
        let line = request("nonce", subject, 7, &["/sas/in", "/sas/out"].map(PathBuf::from));
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({
                "id": "nonce", "star": STAR, "quarter": 3, "input": "/sas/in/7/input.h5", "output": "/sas/out/7/output.h5",
                "parameters": "/sas/in/7/parameters.json", "seed": u64::MAX, "attempt": 2,
            })
        );
    }

    #[test]
    fn an_answer_is_believed_only_about_its_request() {
        let is = |line: &str| reply("a", line.as_bytes());
        assert_eq!(is("{\"id\":\"a\",\"exit\":75,\"message\":\"later\"}\n"), Reply::Code(75, "later".to_owned()));
        assert_eq!(is("{\"id\": \"a\", \"exit\": 0, \"more\": [1]}"), Reply::Code(0, String::new()));
        for (line, word) in [
            ("{\"id\":\"b\",\"exit\":0}", "got: {\"id\":\"b\""),
            ("{\"id\":\"a\"}", "missing field `exit`"),
            ("hello", "got: hello"),
            ("", "an answer"),
        ] {
            let Reply::Nonsense(said) = is(line) else { panic!("{line:?} is taken for an answer") };
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn codes_in_answers_mean_what_they_mean_at_the_end_of_a_container() {
        assert_eq!(
            [0, 75, 128, 137, 255].map(exit_of),
            [Exit::Code(0), Exit::Code(75), Exit::Code(128), Exit::Signal(9), Exit::Code(255)]
        );
        assert!(
            is_ready(b"{\"ready\":1}\n") && is_ready(b"{\"ready\": 1, \"name\": \"x\"}") && !is_ready(b"{\"ready\":0}")
        );
    }
}
