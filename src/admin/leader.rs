//! Who leads, and that another should.

use serde_json::{Value, json};

use crate::meili::error::{Code, ResponseError};
use crate::store::leadership::{Leader, Leadership, Member, Role};

/// As `GET /leader` shows it.
pub fn view(leadership: &dyn Leadership) -> Value {
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
    json!({ "role": role, "trusted": leadership.trust().holds(), "leader": leader, "gateways": gateways })
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
