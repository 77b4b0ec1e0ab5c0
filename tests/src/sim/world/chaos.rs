//! What goes wrong by itself, and how a healed world is brought to rest.

use super::wires::is_link;
use super::{Happening, ToGateway, World};
use crate::sim::SEC;
use crate::sim::centre::Service;
use codec::link::message::Order;
use engine::core::Space;

impl World {
    /// About once a second while the world is wild.
    pub(super) fn chaos(&mut self) {
        if self.healing {
            return;
        }
        let wait = self.rng.between(SEC / 4, 2 * SEC);
        self.after(wait, Happening::Chaos);
        let chaos = self.plan.chaos;
        let line = self.rng.below(self.centres.len() as u64) as usize;
        if self.rng.chance(chaos.session_reset)
            && let Some(session) = self.some_wire(false, line)
        {
            self.break_wire(session, 3 * SEC);
        }
        if self.rng.chance(chaos.line_lost) {
            for session in self.centres[line].sessions.clone() {
                self.break_wire(session, 3 * SEC);
            }
        }
        if self.rng.chance(chaos.excess) && self.gateway.is_some() {
            self.connect_session(line);
        }
        if self.rng.chance(chaos.end) {
            self.centres[line].begin_end();
        }
        if self.rng.chance(chaos.start) {
            self.centres[line].start();
        }
        if self.rng.chance(chaos.inward) {
            self.centres[line].ask_something();
        }
        self.flush_centre(line);
        if self.rng.chance(chaos.link_cut) {
            let app = self.rng.below(self.apps.len() as u64) as usize;
            if let Some(link) = self.apps[app].link() {
                self.break_wire(link, 3 * SEC);
            }
        }
        if self.rng.chance(chaos.order) {
            self.order_of_chance(line);
        }
        if self.rng.chance(chaos.space) {
            let space = *self.rng.pick(&[Space::Ok, Space::Low]);
            self.at(
                self.now,
                Happening::Gateway(self.boot, ToGateway::Space(space)),
            );
        }
        if chaos.purge > 0 && self.rng.chance(chaos.purge) {
            // Also numbers that are no route of the line.
            let most = u64::from(self.plan.core.lines[line].route_count) * 2 + 2;
            let route = self.rng.between(0, most) as u16;
            self.order_app(line, Order::Purge, route);
        }
        if self.rng.chance(chaos.terminate) && self.gateway.is_some() {
            self.at(
                self.now,
                Happening::Gateway(self.boot, ToGateway::Terminate),
            );
        }
        if self.rng.chance(chaos.crash) && self.crash_in.is_none() {
            self.crash_in = Some(self.rng.below(40));
        }
    }

    fn some_wire(&mut self, links: bool, owner: usize) -> Option<u64> {
        let fits = |number: &u64| is_link(*number) == links;
        let of = self
            .wires
            .all
            .iter()
            .filter(|(n, wire)| fits(n) && wire.owner == owner && wire.peer);
        let of: Vec<u64> = of.map(|(number, _)| *number).collect();
        (!of.is_empty()).then(|| *self.rng.pick(&of))
    }

    fn order_of_chance(&mut self, line: usize) {
        let order = match self.rng.below(24) {
            0..6 => Order::Connect,
            6..9 => Order::Disconnect,
            9..11 => Order::SignOn,
            11..13 => Order::SignOff,
            13..18 => Order::Recovery,
            18..20 => Order::CutRequest,
            20..22 => Order::CutOver,
            22 => Order::Shutdown,
            _ => Order::ShutdownForce,
        };
        self.order_app(line, order, 0);
    }

    fn order_app(&mut self, line: usize, order: Order, route: u16) -> bool {
        let now = self.now;
        for app in 0..self.apps.len() {
            if self.apps[app].line == line && self.apps[app].control(now, order, route) {
                self.note(|| format!("app {app} orders {order:?}"));
                self.flush_app(app);
                return true;
            }
        }
        false
    }

    /// A turn of the healed world: service is opened, what waits for an order gets one.
    pub(super) fn heal_turn(&mut self) {
        self.after(20 * SEC, Happening::Heal);
        for line in 0..self.centres.len() {
            let wanted = usize::from(self.plan.core.lines[line].accept_count);
            if self.centres[line].sessions.len() < wanted {
                self.after(SEC, Happening::CentreConnect(line));
                continue;
            }
            if self.centres[line].service != Service::Open {
                self.centres[line].start();
                self.flush_centre(line);
            }
            self.look_after(line);
        }
    }

    /// Whether a line needs no order to settle whatever is open.
    fn settles_by_itself(&self, line: usize) -> bool {
        let core = &self.plan.core;
        core.lines[line].automatic && core.recovery_automatic && self.plan.open_sequence == 0
    }

    /// The operator of a line.
    fn look_after(&mut self, line: usize) {
        let Some(open) = self
            .gateway
            .as_ref()
            .map(|gateway| gateway.pipeline.core().usage().transactions)
        else {
            return;
        };
        let Some(app) = self.apps.iter().position(|app| app.line == line) else {
            return;
        };
        self.apps[app].operator = open > 0;
        if !self.apps[app].attached() && self.apps[app].link().is_some() && open > 0 {
            if self.apps[app].gone() {
                self.apps[app].open();
                self.flush_app(app);
            }
            return;
        }
        if open == 0 {
            return;
        }
        match self.apps[app].status.take() {
            None => {
                self.order_app(line, Order::Status, 0);
            }
            Some(status) if status.sessions > 0 && (status.service == 1 || status.service == 7) => {
                self.order_app(line, Order::Connect, 0);
            }
            Some(status) if status.service == 4 && !self.settles_by_itself(line) => {
                self.order_app(line, Order::Recovery, 0);
            }
            Some(_) => {}
        }
    }

    /// Whether everything that began has ended and everybody but the operators has left.
    pub(super) fn settled(&self) -> bool {
        let open = self
            .gateway
            .as_ref()
            .map(|gateway| gateway.pipeline.core().usage().transactions);
        open == Some(0)
            && self.apps.iter().all(|app| app.idle() && app.gone())
            && self.stalled.is_empty()
    }
}
