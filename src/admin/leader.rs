//! Who leads, and that another should.

use serde_json::{Value, json};

use crate::gateway::App;
use crate::meili::error::{Code, ResponseError};
use crate::peers::book::Entry;
use crate::store::leadership::{Leader, Leadership, Member, Role};

/// As `GET /leader` shows it.
pub fn view(leadership: &dyn Leadership, app: &App) -> Value {
    let standing = leadership.watch().borrow().clone();
    let role = match standing.role {
        Role::Only => "only",
        Role::Leads => "leads",
        Role::Follows => "follows",
        Role::Ended(_) => "ended",
    };
    let leader = standing.leader.map(
        |Leader { epoch, name, url, since }| json!({ "epoch": epoch, "gateway": name, "url": url, "since": since }),
    );
    let member = |member: &Member| json!({ "id": member.name, "url": member.url, "version": member.version });
    let gateways: Vec<Value> = standing.members.iter().map(member).collect();
    let trusted = leadership.trust().holds();
    let (view, followers) = (by_view(app), followers(app));
    json!({
        "role": role, "trusted": trusted, "leader": leader, "gateways": gateways, "view": view, "followers": followers,
    })
}

/// By which view this gateway answers: of one that leads the one it lends, of one that follows the one it was lent.
fn by_view(app: &App) -> Value {
    if let Some(publisher) = app.publisher.get() {
        return json!({ "number": publisher.number() });
    }
    match app.following().and_then(|following| following.follower()) {
        None => Value::Null,
        Some(follower) => json!({
            "number": follower.has(),
            "leased": follower.is_leased(),
            "leaseLeftMs": u64::try_from(follower.lease_left().as_millis()).unwrap_or(u64::MAX),
        }),
    }
}

/// What the gateway that leads knows of the others.
fn followers(app: &App) -> Value {
    let Some(publisher) = app.publisher.get() else { return Value::Null };
    let follower = |entry: Entry| {
        json!({
            "id": entry.said.gateway, "version": entry.said.version, "view": entry.said.has, "oldest": entry.said.oldest,
            "askedMsAgo": u64::try_from(entry.asked.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    };
    publisher.followers().into_iter().map(follower).collect()
}

/// Has this gateway end in favour of another one that waits.
pub fn step_down(leadership: &dyn Leadership) -> Result<Value, ResponseError> {
    let standing = leadership.watch().borrow().clone();
    let refused = |why: &str| Err(ResponseError::new(Code::BadRequest, why));
    match standing.role {
        Role::Only => refused("the state is a file, which no other gateway could lead"),
        Role::Follows | Role::Ended(_) => refused("this gateway does not lead"),
        Role::Leads if standing.members.len() < 2 => refused("no other gateway is at the database, so none would lead"),
        Role::Leads => {
            leadership.resign();
            Ok(json!({ "stepsDown": true }))
        }
    }
}
