//! What each role may do in the store, as grants and as the text an operator gives to Consul, etcd or the embedded server.
//!
//! Invariant: every key has one writer role. The one exception is removal: the controller deletes what a removed host left.

use std::fmt::Write as _;

use footplate_core::name::HostName;
use footplate_core::record::Key;
use serde_json::json;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The controller, and a `footplate deploy` that hosts one.
    Controller,
    /// The agent of one host.
    Agent(HostName),
    /// Whoever only looks: at all but orders, which hold the token that agents show for artifacts.
    Reader,
    /// An agent or a deployer in the original Depro's tree, below this prefix.
    Depro(String),
}

/// Which store the text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A Consul ACL policy in HCL.
    Consul,
    /// Commands for `etcdctl`.
    Etcd,
    /// The rights of a token of the embedded server, in JSON.
    Embedded,
}

/// What may be done below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading, waiting and listing.
    Read,
    /// All of that, and writing.
    Write,
}

/// One permission: for all keys that begin with this text, root included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The whole prefix.
    pub prefix: String,
    /// What is allowed below it.
    pub access: Access,
}

/// All that a reader may read.
const READABLE: [&str; 8] =
    [Key::AGENTS, Key::APPS, Key::BARRIERS, Key::FLEET, Key::LANES, Key::RELEASES, Key::ROUTES, Key::TRAFFIC];

/// Returns the least a role needs, below `root` (as in [`super::Config::root`]).
pub fn grants(root: &str, role: &Role) -> Vec<Grant> {
    let grant = |prefix: String, access| Grant { prefix: format!("{root}{prefix}"), access };
    match role {
        Role::Controller => vec![grant(String::new(), Access::Write)],
        Role::Agent(host) => vec![
            grant(Key::assignments_of(host), Access::Read),
            grant(Key::BARRIERS.to_owned(), Access::Read),
            grant(Key::ROUTES.to_owned(), Access::Read),
            grant(Key::TRAFFIC.to_owned(), Access::Read),
            grant(Key::agent_of(host), Access::Write),
        ],
        Role::Reader => READABLE.map(|prefix| grant(prefix.to_owned(), Access::Read)).into(),
        Role::Depro(prefix) => {
            vec![Grant { prefix: format!("{}/", prefix.trim_matches('/')), access: Access::Write }]
        }
    }
}

/// Tells whether a role opens sessions.
pub fn needs_sessions(role: &Role) -> bool {
    *role != Role::Reader
}

/// Renders the policy of a role, with a comment that says how to apply it.
pub fn policy(root: &str, dialect: Dialect, role: &Role) -> String {
    let grants = grants(root, role);
    match dialect {
        Dialect::Consul => consul(&grants, role),
        Dialect::Etcd => etcd(&grants, role),
        Dialect::Embedded => embedded(&grants, role),
    }
}

fn name(role: &Role) -> String {
    match role {
        Role::Controller => "footplate-controller".to_owned(),
        Role::Agent(host) => format!("footplate-agent-{host}"),
        Role::Reader => "footplate-reader".to_owned(),
        Role::Depro(_) => "footplate-depro".to_owned(),
    }
}

fn consul(grants: &[Grant], role: &Role) -> String {
    let name = name(role);
    let mut text = format!(
        "# Consul policy of {name}. Save it as policy.hcl, then:\n\
         #   consul acl policy create -name {name} -rules @policy.hcl\n\
         #   consul acl token create -policy-name {name}\n"
    );
    for Grant { prefix, access } in grants {
        // `list` is `read` that also holds where Consul guards listing (`enable_key_list_policy`).
        let access = if *access == Access::Write { "write" } else { "list" };
        writeln!(text, "key_prefix \"{prefix}\" {{\n  policy = \"{access}\"\n}}")
            .expect("a String takes everything");
    }
    if needs_sessions(role) {
        text.push_str("# Sessions belong to the Consul node that is asked, whichever that is.\n");
        text.push_str("session_prefix \"\" {\n  policy = \"write\"\n}\n");
    }
    text
}

fn etcd(grants: &[Grant], role: &Role) -> String {
    let name = name(role);
    let mut text =
        format!("# etcd role and user {name}; `user add` asks for the password.\netcdctl role add {name}\n");
    for Grant { prefix, access } in grants {
        let access = if *access == Access::Write { "readwrite" } else { "read" };
        writeln!(text, "etcdctl role grant-permission {name} --prefix=true {access} '{prefix}'")
            .expect("a String takes everything");
    }
    writeln!(text, "etcdctl user add {name}\netcdctl user grant-role {name} {name}")
        .expect("a String takes everything");
    text
}

fn embedded(grants: &[Grant], role: &Role) -> String {
    let rule = |grant: &Grant| json!({ "prefix": grant.prefix, "access": if grant.access == Access::Write { "write" } else { "read" } });
    let mut rights = json!({ "rules": grants.iter().map(rule).collect::<Vec<_>>() });
    if needs_sessions(role) {
        rights["sessions"] = json!("write");
    }
    serde_json::to_string_pretty(&rights).expect("plain JSON can be written") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_writes_its_own_reports_only() {
        let role = Role::Agent("web-1".parse().expect("a good name"));
        let consul = policy("footplate/", Dialect::Consul, &role);
        assert!(
            consul.contains("key_prefix \"footplate/agents/web-1/\" {\n  policy = \"write\"\n}"),
            "{consul}"
        );
        assert!(
            consul.contains("key_prefix \"footplate/hosts/web-1/\" {\n  policy = \"list\"\n}"),
            "{consul}"
        );
        assert_eq!(consul.matches("write").count(), 2, "its reports and its session: {consul}");
        let etcd = policy("footplate/", Dialect::Etcd, &role);
        let own = "grant-permission footplate-agent-web-1 --prefix=true readwrite 'footplate/agents/web-1/'";
        assert!(etcd.contains(own) && etcd.matches("readwrite").count() == 1, "{etcd}");
        let embedded = policy("footplate/", Dialect::Embedded, &role);
        assert_eq!(embedded.matches("\"write\"").count(), 2, "{embedded}");
    }

    #[test]
    fn a_reader_sees_no_orders() {
        let prefixes = grants("", &Role::Reader).into_iter().map(|grant| grant.prefix).collect::<Vec<_>>();
        let all = "agents/ apps/ barriers/ fleet/ lanes/ releases/ routes/ traffic/";
        assert_eq!(prefixes.join(" "), all);
    }

    #[test]
    fn a_reader_opens_no_session_and_depro_gets_its_tree() {
        assert!(!policy("a/", Dialect::Consul, &Role::Reader).contains("session"));
        let depro = grants("a/", &Role::Depro("/apps/shop/".to_owned()));
        assert_eq!(depro, [Grant { prefix: "apps/shop/".to_owned(), access: Access::Write }]);
    }
}
