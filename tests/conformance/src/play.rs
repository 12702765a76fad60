//! Plays a scenario: sends its requests, and holds the answers against what is expected.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::expectation::{describe, Expectation, Variables};
use crate::process::Answer;
use crate::scenario::{named, Action, Call, Persistence, Scenario, Step};
use crate::stage::{Stage, PATIENCE};
use crate::value::encode;
use crate::{tamper, Outcome};

const POLL_INTERVAL: Duration = Duration::from_millis(20);
const SEGMENT_BYTES: u64 = 2 << 20;

pub struct Play<'a, 'b> {
    stage: &'a mut Stage<'b>,
    variables: Variables,
    /// Calls that go on, by their labels.
    labels: HashMap<String, (u64, u64)>,
}

/// Plays all steps; an error says which failed, and why.
pub fn play(scenario: &Scenario, stage: &mut Stage) -> Outcome<()> {
    let trace = stage.driver(1).trace.clone();
    let variables = Variables::from([("TRACE".to_string(), trace)]);
    let mut play = Play { stage, variables, labels: HashMap::new() };
    for step in &scenario.steps {
        for round in 1..=step.repeat {
            play.step(step, round)
                .map_err(|error| format!("line {}: {}\n    {error}", step.line, step.text))?;
        }
    }
    Ok(())
}

impl Play<'_, '_> {
    fn step(&mut self, step: &Step, round: u64) -> Outcome<()> {
        match &step.action {
            Action::Call(call) => self.call(call, round),
            Action::Stage(words) => self.stage(words),
            Action::Await { label, expectation } => {
                let (node, request) = self.labels.remove(label).ok_or("no call has this label")?;
                let answer = self.stage.wait(node, request)?;
                check_promise(&answer)?;
                Ok(expectation.check(&answer, &mut self.variables)?)
            }
        }
    }

    fn call(&mut self, call: &Call, round: u64) -> Outcome<()> {
        let nodes = self.nodes(&call.nodes)?;
        let mut requests = Vec::new();
        for &node in &nodes {
            if self.is_impossible(node, call) {
                continue;
            }
            let line = self.request(node, call, round)?;
            requests.push((node, self.stage.ask(node, &line)?, line));
        }
        if let Some(label) = &call.label {
            for (node, request, _) in requests {
                self.labels.insert(label.clone(), (node, request));
            }
            return Ok(());
        }
        for (node, request, line) in requests {
            let answer = self.stage.wait(node, request)?;
            self.stage.note(node, &call.command, &answer)?;
            self.satisfy(node, call, &line, answer)?;
        }
        Ok(())
    }

    /// Holds an answer against what is expected, and asks again if the step says so.
    fn satisfy(&mut self, node: u64, call: &Call, line: &str, mut answer: Answer) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if answer.words.get("code") == Some("DRIVER") {
                return Err(format!("the driver is at a loss: {}", describe(&answer)).into());
            }
            check_promise(&answer)?;
            let checked = call.expectation.check(&answer, &mut self.variables);
            let again = match call.persistence {
                Persistence::Once => false,
                Persistence::Until => checked.is_err(),
                Persistence::Retry => answer.words.get("retriable") == Some("1"),
            };
            if !again || Instant::now() > deadline {
                return Ok(checked?);
            }
            std::thread::sleep(POLL_INTERVAL);
            answer = self.stage.call(node, line)?;
            self.stage.note(node, &call.command, &answer)?;
        }
    }

    /// Whether the language has no way to make this mistake.
    fn is_impossible(&self, node: u64, call: &Call) -> bool {
        let what = call.arguments.iter().find(|(name, _)| name == "what");
        let impossible = &self.stage.driver(node).impossible;
        call.command == "misuse" && what.is_some_and(|(_, what)| impossible.contains(what))
    }

    /// A request as it goes over the line, with what the scenario left out.
    fn request(&mut self, node: u64, call: &Call, round: u64) -> Outcome<String> {
        let mut arguments = Vec::new();
        for (name, value) in &call.arguments {
            let value = self.substitute(value, round)?;
            arguments.push((name.clone(), value));
        }
        self.complete(node, &call.command, &mut arguments)?;
        let mut line = call.command.clone();
        for (name, value) in arguments {
            let value = match name.as_str() {
                "members" => self.list(&value, |_| true)?,
                "steps" => self.list(&value, |step| {
                    step.starts_with("add_") || step.starts_with("set_address")
                })?,
                _ => value,
            };
            line.push_str(&format!(" {name}={}", encode(&name, &value)?));
        }
        Ok(line)
    }

    fn complete(
        &mut self,
        node: u64,
        command: &str,
        arguments: &mut Vec<(String, String)>,
    ) -> Outcome<()> {
        let mut defaults: Vec<(String, String)> = Vec::new();
        let mut add = |name: &str, value: String| defaults.push((name.to_string(), value));
        if !matches!(command, "version" | "destroyed" | "log" | "logged") {
            add("node", node.to_string());
        }
        match command {
            "version" | "destroyed" | "log" | "logged" | "node_status" | "close" => {}
            "open" => {
                add("cluster", "conformance".to_string());
                add("directory", self.stage.directory(node).to_string_lossy().into_owned());
                add("listen", self.stage.listen_address(node)?.to_string());
                if self.stage.settings.relays {
                    add("advertise", self.stage.address(node)?.to_string());
                }
                defaults.extend(self.stage.settings.open.iter().cloned());
                // Segments are written in advance: smaller ones are opened sooner.
                defaults.push(("segment_bytes".to_string(), SEGMENT_BYTES.to_string()));
            }
            _ => add("group", "1".to_string()),
        }
        if command == "wait_ready" {
            defaults.push(("timeout_ms".to_string(), PATIENCE.as_millis().to_string()));
        }
        if command == "start_group" {
            let members: Vec<String> =
                (1..=self.stage.settings.nodes).map(|node| node.to_string()).collect();
            let group = find(arguments, "group").unwrap_or("1").to_string();
            let state = self.stage.state(node, &group)?.to_string_lossy().into_owned();
            defaults.push(("members".to_string(), members.join(",")));
            defaults.push(("state".to_string(), state));
            defaults.extend(self.stage.settings.group.iter().cloned());
            defaults.push(("machine".to_string(), "memory".to_string()));
        }
        for (name, value) in defaults {
            if find(arguments, &name).is_none() {
                arguments.push((name, value));
            }
        }
        Ok(())
    }

    /// Writes the address behind each node of a list that needs one.
    fn list(&mut self, list: &str, needs_address: impl Fn(&str) -> bool) -> Outcome<String> {
        let mut parts = Vec::new();
        for part in list.split(',') {
            let number = part.rsplit(':').next().and_then(|number| number.parse().ok());
            parts.push(match number {
                Some(node) if !part.contains('@') && needs_address(part) => {
                    format!("{part}@{}", self.stage.address(node)?)
                }
                _ => part.to_string(),
            });
        }
        Ok(parts.join(","))
    }

    /// Variables, and `#` for the round of a repeated step.
    fn substitute(&self, text: &str, round: u64) -> Outcome<String> {
        let mut text = text.replace('#', &round.to_string());
        let mut names: Vec<&String> = self.variables.keys().collect();
        // The longer ones first: one may be the beginning of another.
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            text = text.replace(&format!("${name}"), &self.variables[name]);
        }
        if text.contains('$') {
            return Err(format!("'{text}' has a variable without a value").into());
        }
        Ok(text)
    }

    fn nodes(&self, list: &str) -> Outcome<Vec<u64>> {
        let list = self.substitute(list, 1)?;
        let number = |node: &str| node.parse().map_err(|_| format!("'{node}' is no node"));
        Ok(list.split(',').map(number).collect::<Result<Vec<u64>, String>>()?)
    }

    fn stage(&mut self, words: &[String]) -> Outcome<()> {
        let operand = words.get(1).map_or("", String::as_str);
        match words[0].as_str() {
            "form" => return self.form(operand, &words[2..]),
            "leader" => return self.find_leader(operand),
            "agree" => return self.agree(operand, &words[2..]),
            "pending" => {
                let (node, request) = *self.labels.get(operand).ok_or("no call has this label")?;
                return match self.stage.process(node)?.is_answered(request) {
                    true => Err(describe(&self.stage.wait(node, request)?).into()),
                    false => Ok(()),
                };
            }
            _ => {}
        }
        for node in self.nodes(operand)? {
            match words[0].as_str() {
                "kill" => self.stage.kill(node),
                "freeze" => self.stage.process(node)?.signal(libc::SIGSTOP),
                "thaw" => self.stage.process(node)?.signal(libc::SIGCONT),
                "wipe" => self.stage.wipe(node)?,
                "damage" => tamper::damage(&self.stage.directory(node).join("identity"))?,
                "renew" => tamper::renew(&self.stage.directory(node).join("identity"))?,
                "cut" => self.stage.relay(node)?.cut(),
                "mend" => self.stage.relay(node)?.mend(),
                "occupy" => self.stage.occupy(node)?,
                "lead" => self.lead(node)?,
                "event" => self.event(node, &words[2..])?,
                verb => return Err(format!("'{verb}' is not known").into()),
            }
        }
        Ok(())
    }

    /// Opens the nodes, starts the group on each, and waits until all are ready.
    fn form(&mut self, nodes: &str, options: &[String]) -> Outcome<()> {
        let ok = Expectation::parse(&["ok".to_string()])?;
        for (command, arguments) in
            [("open", vec![]), ("start_group", named(options)?), ("wait_ready", vec![])]
        {
            self.call(
                &Call {
                    persistence: Persistence::Once,
                    label: None,
                    nodes: nodes.to_string(),
                    command: command.to_string(),
                    arguments,
                    expectation: ok.clone(),
                },
                1,
            )?;
        }
        Ok(())
    }

    /// Waits until one of the nodes leads and the others know it: it becomes `$L`, the others `$F1`, `$F2`, ...
    fn find_leader(&mut self, nodes: &str) -> Outcome<()> {
        let nodes = self.nodes(nodes)?;
        let leader = self.poll("a leader that all know", |play| {
            let mut named = Vec::new();
            for &node in &nodes {
                named.push(play.leader_known_to(node)?);
            }
            let first = named[0];
            Ok(first.filter(|leader| {
                nodes.contains(leader) && named.iter().all(|named| *named == first)
            }))
        })?;
        self.variables.insert("L".to_string(), leader.to_string());
        for (number, node) in (1..).zip(nodes.iter().filter(|node| **node != leader)) {
            self.variables.insert(format!("F{number}"), node.to_string());
        }
        Ok(())
    }

    fn leader_known_to(&mut self, node: u64) -> Outcome<Option<u64>> {
        let status = self.stage.call(node, &format!("group_status node={node} group=1"))?;
        let leader = status.words.get("leader_node_id").and_then(|leader| leader.parse().ok());
        Ok(leader.filter(|leader| *leader != 0))
    }

    /// Has a node take the lead, wherever it is now.
    fn lead(&mut self, to: u64) -> Outcome<()> {
        self.poll(&format!("node {to} to lead"), |play| {
            let status = play.stage.call(to, &format!("group_status node={to} group=1"))?;
            if status.words.get("role") == Some("leader") {
                return Ok(Some(()));
            }
            if let Some(leader) = play.leader_known_to(to)?.filter(|leader| *leader != to) {
                let line = format!("transfer_leadership node={leader} group=1 to={to}");
                // Refused while a transfer or an election is under way: then it is asked for again.
                play.stage.call(leader, &line)?;
            }
            Ok(None)
        })
    }

    /// Waits until the machines of the nodes hold the same, and holds that against fields.
    fn agree(&mut self, nodes: &str, fields: &[String]) -> Outcome<()> {
        let nodes = self.nodes(nodes)?;
        let mut expected = vec!["ok".to_string()];
        for field in fields {
            expected.push(self.substitute(field, 1)?);
        }
        let expectation = Expectation::parse(&expected)?;
        let mut latest = Vec::new();
        let agreed = self.poll("the nodes to agree", |play| {
            latest.clear();
            for &node in &nodes {
                latest.push(play.stage.call(node, &format!("dump node={node} group=1"))?);
            }
            let same = latest.iter().all(|dump| dump.ok && *dump == latest[0]);
            let fits = same && expectation.check(&latest[0], &mut play.variables).is_ok();
            Ok(fits.then_some(()))
        });
        agreed.map_err(|error| {
            let dumps: Vec<String> = latest.iter().map(describe).collect();
            format!("{error}: {}", dumps.join(" | ")).into()
        })
    }

    fn event(&mut self, node: u64, fields: &[String]) -> Outcome<()> {
        let mut expected = vec!["ok".to_string(), format!("node={node}")];
        for field in fields {
            expected.push(self.substitute(field, 1)?);
        }
        let expectation = Expectation::parse(&expected)?;
        let process = self.stage.process(node)?;
        process.wait_event(PATIENCE, |words| {
            let event = Answer { ok: true, words: words.clone() };
            expectation.check(&event, &mut Variables::new()).ok()
        })
    }

    fn poll<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&mut Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self)? {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(format!("waited in vain for {what}").into());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// What every error promises, whatever is expected: only a call without effect may be made again.
fn check_promise(answer: &Answer) -> Outcome<()> {
    let may_repeat = answer.words.get("retriable") == Some("1");
    if !answer.ok && may_repeat && answer.words.get("outcome") != Some("rejected") {
        return Err(format!("it says that it is retriable: {}", describe(answer)).into());
    }
    Ok(())
}

fn find<'a>(arguments: &'a [(String, String)], name: &str) -> Option<&'a str> {
    arguments.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}
