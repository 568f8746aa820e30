//! What befalls gateways, their database and what lies between them and nodes.

use std::time::Duration;

use super::World;
use super::gateway::NODES;

impl World {
    pub(super) fn fault(&mut self) {
        let at = self.roll(self.gateways.len());
        let other = self.roll(self.gateways.len());
        match self.roll(44) {
            40..44 => {
                let pair = (at, self.roll(NODES));
                match self.cut_nodes.iter().position(|cut| *cut == pair) {
                    Some(cut) => drop(self.cut_nodes.swap_remove(cut)),
                    None => self.cut_nodes.push(pair),
                }
            }
            0..6 => self.gateways[at].is_frozen ^= true,
            6..12 => self.gateways[at].is_cut_from_database ^= true,
            12..14 if at != other => {
                let pair = (at.min(other), at.max(other));
                match self.cut.iter().position(|cut| *cut == pair) {
                    Some(cut) => drop(self.cut.swap_remove(cut)),
                    None => self.cut.push(pair),
                }
            }
            14..17 if self.gateways[at].starts_at.is_none() => {
                let pause = [300, 2_000, 15_000][self.roll(3)];
                let pause = self.roll(pause) as u64;
                self.gateways[at].starts_at = Some(self.now + Duration::from_millis(pause));
                self.gateways[at].reign = None;
                self.count("killed");
            }
            17..19 => {
                let now = self.gateways[at].clock(self.now);
                if !self.gateways[at].is_frozen
                    && self.gateways[at].starts_at.is_none()
                    && let Some(sends) = self.gateways[at].give_up(now)
                {
                    self.send(at, sends);
                }
            }
            19..24 => self.database.is_up ^= true,
            24 => self.jumped = self.roll(800) as i64 - 400,
            25 => self.database.copy = Some(self.database.row.clone()),
            26 => self.lose_tail(),
            _ => self.mend(),
        }
    }

    /// The server comes back older than it was. Whoever leads or waits knows better.
    fn lose_tail(&mut self) {
        let Some(copy) = self.database.copy.take() else { return };
        if copy.writes < self.database.row.writes && self.roll(4) == 0 {
            self.database.row = copy;
            self.is_lost = true;
            self.count("tail lost");
        }
    }

    pub(super) fn mend(&mut self) {
        self.database.is_up = true;
        self.cut.clear();
        self.cut_nodes.clear();
        for gateway in &mut self.gateways {
            (gateway.is_frozen, gateway.is_cut_from_database) = (false, false);
        }
    }
}
