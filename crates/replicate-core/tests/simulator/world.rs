//! Two sites, a link between them, clients at both; faults at every step.

use super::chance::Chance;
use super::client::Client;
use super::disk::{Disk, SECTOR_BYTES};
use super::register::Registers;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use yundu_replicate_core::activity::{ActivityLog, Page};
use yundu_replicate_core::meta::{Meta, Mode, Policy, Role};
use yundu_replicate_core::node::{Config, Effect, LocalOp, LocalOutcome, Node, Start};
use yundu_replicate_core::wire::Message;

pub const SIZE_BYTES: u64 = (8 << 20) + 4096 + 1536;
const TICK_US: u64 = 20_000;

pub enum Happening {
    Tick(usize, u64),
    LocalDone {
        site: usize,
        epoch: u64,
        id: u64,
    },
    MetaDone {
        site: usize,
        epoch: u64,
    },
    ActivityDone {
        site: usize,
        epoch: u64,
    },
    BitmapDone {
        site: usize,
        epoch: u64,
        words: Vec<u64>,
    },
    Scanned {
        site: usize,
        epoch: u64,
        extents: Vec<(u64, u64)>,
    },
    Deliver {
        link: u64,
        to: usize,
    },
    LinkUp {
        site: usize,
        epoch: u64,
        link: u64,
    },
    LinkDown {
        site: usize,
        epoch: u64,
        link: u64,
    },
    Dial,
    Start(usize, u64),
    Issue(usize),
    Reconnect(usize),
    Fault,
    Cut,
}

#[derive(Clone)]
struct LocalWork {
    op: LocalOp,
    covered: u64,
}

pub struct Site {
    pub node: Option<Node<Vec<u64>>>,
    pub disk: Disk,
    pub epoch: u64,
    link: Option<u64>,
    local: BTreeMap<u64, LocalWork>,
    metas: VecDeque<(u64, Meta)>,
    pages: VecDeque<Vec<(usize, Page)>>,
    boot: u64,
    pub power_lost_step: u64,
    kill_after: Option<(u32, bool, u64)>,
    meta_at_us: u64,
    no_space_until_us: u64,
    pub fail_next_flush: bool,
    pub destroyed: bool,
}

#[derive(Default)]
struct Wire {
    queue: [VecDeque<Message>; 2],
    at_us: [u64; 2],
    stalled_until_us: u64,
    cut: bool,
}

pub struct World {
    pub seed: u64,
    pub chance: Chance,
    pub now_us: u64,
    pub step: u64,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: HashMap<u64, Happening>,
    pub sites: [Site; 2],
    wires: HashMap<u64, Wire>,
    next_link: u64,
    net_down_until_us: u64,
    pub clients: Vec<Client>,
    pub registers: Registers,
    pub issued: u64,
    pub operations_max: u64,
    pub faults: u64,
    pub faults_left: u64,
    pub calm: bool,
    pub replied_as_primary: BTreeMap<u64, usize>,
    /// Silent corruption that the comparison under way must find: site, sector, value.
    pub corrupted: Vec<(usize, usize, u64)>,
    pub trace: bool,
    pub mode: Mode,
    pub policy: Policy,
    pub cuts: u64,
    pub resyncs: u64,
    pub power_losses: u64,
    pub verify_found: u64,
    pub doomed: bool,
    pub split: bool,
    planted: Planted,
    pub promotions: u64,
    pub target_changes: u64,
    pub next_cut: u64,
}

/// Which mistake the nodes are to make.
#[cfg(feature = "planted-bugs")]
pub type Planted = Option<yundu_replicate_core::node::Bug>;
#[cfg(not(feature = "planted-bugs"))]
pub type Planted = ();

fn config(planted: Planted) -> Config {
    #[cfg(not(feature = "planted-bugs"))]
    let () = planted;
    Config {
        #[cfg(feature = "planted-bugs")]
        planted,
        copy_chunk_bytes: 64 << 10,
        copy_window_bytes: 256 << 10,
        verify_leaf_bytes: 512 << 10,
        async_backlog_bytes_max: 32 << 10,
        hot_extents_max: 0,
        ..Config::default()
    }
}

impl World {
    pub fn new(seed: u64, operations_max: u64, faults: u64, planted: Planted) -> Self {
        let mut chance = Chance::new(seed);
        let boot = "boot".to_owned();
        let mut disk = Disk::new(Meta::new_primary(
            "a".into(),
            "set".into(),
            SIZE_BYTES,
            boot.clone(),
        ));
        for _ in 0..chance.below(30) {
            let sector = super::client::some_sector(&mut chance) as usize;
            if chance.percent(50) {
                disk.cache[sector] = 1 + sector as u64;
                disk.durable[sector] = 1 + sector as u64;
            } else {
                disk.put(sector, 1 + sector as u64);
            }
        }
        let registers = Registers::new(&disk.cache);
        let mode = if chance.percent(70) {
            Mode::Sync
        } else {
            Mode::Async
        };
        let policy = if chance.percent(60) {
            Policy::Available
        } else {
            Policy::Protect
        };
        let other = Disk::new(Meta::new_receiver("b".into(), boot));
        let mut world = Self {
            seed,
            now_us: 0,
            step: 1,
            order: 0,
            queue: BinaryHeap::new(),
            happenings: HashMap::new(),
            sites: [Site::new(disk), Site::new(other)],
            wires: HashMap::new(),
            next_link: 1,
            net_down_until_us: 0,
            clients: Vec::new(),
            registers,
            issued: 0,
            operations_max,
            faults: 0,
            faults_left: faults,
            calm: false,
            replied_as_primary: BTreeMap::new(),
            corrupted: Vec::new(),
            trace: std::env::var_os("YUNDU_TRACE").is_some(),
            mode,
            policy,
            cuts: 0,
            resyncs: 0,
            power_losses: 0,
            verify_found: 0,
            doomed: false,
            split: false,
            planted,
            promotions: 0,
            target_changes: 0,
            next_cut: 0,
            chance,
        };
        let clients = world.chance.between(2, 4) as usize;
        for index in 0..clients {
            let site = usize::from(index >= 2);
            world.clients.push(Client::new(
                site,
                index as u64,
                1 + world.chance.below(8) as usize,
            ));
            world.after(world.clients.len() as u64 * 300, Happening::Issue(index));
        }
        world.after(0, Happening::Start(0, 0));
        world.after(0, Happening::Start(1, 0));
        world.after(100, Happening::Dial);
        let first = world.chance.between(1_000, 400_000);
        world.after(first, Happening::Fault);
        world
    }

    pub fn after(&mut self, delay_us: u64, happening: Happening) {
        self.order += 1;
        self.queue
            .push(Reverse((self.now_us + delay_us, self.order)));
        self.happenings.insert(self.order, happening);
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10} #{:<6} {}", self.now_us, self.step, text());
        }
    }

    /// Handles one happening.
    pub fn advance(&mut self) {
        let Some(Reverse((at_us, order))) = self.queue.pop() else {
            panic!("nothing left to happen");
        };
        self.now_us = at_us;
        self.step += 1;
        let happening = self.happenings.remove(&order).unwrap();
        self.handle(happening);
        if self.step.is_multiple_of(16) {
            self.check_marks();
        }
    }

    fn alive(&self, site: usize, epoch: u64) -> bool {
        self.sites[site].epoch == epoch && self.sites[site].node.is_some()
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Tick(site, epoch) => {
                if self.alive(site, epoch) {
                    let now = self.now_us;
                    self.node(site).tick(now, now as i64 + 1_000_000);
                    if self.chance.percent(5) {
                        let mut chance = self.chance.clone();
                        let one = &mut self.sites[site];
                        let words = one.node.as_ref().unwrap().dirty().words().clone();
                        one.disk.write_back_a_word(&words, &mut chance);
                        self.chance = chance;
                    }
                    self.pump(site);
                    self.after(TICK_US, Happening::Tick(site, epoch));
                }
            }
            Happening::LocalDone { site, epoch, id } => {
                if self.alive(site, epoch) {
                    self.local_done(site, id);
                }
            }
            Happening::MetaDone { site, epoch } => {
                if self.alive(site, epoch) {
                    let (version, meta) = self.sites[site].metas.pop_front().unwrap();
                    self.sites[site].disk.meta = meta;
                    self.node(site).meta_durable(version);
                    self.pump(site);
                }
            }
            Happening::ActivityDone { site, epoch } => {
                if self.alive(site, epoch) {
                    let pages = self.sites[site].pages.pop_front().unwrap();
                    self.sites[site].disk.put_activity(&pages);
                    self.node(site).activity_durable(&pages);
                    self.pump(site);
                }
            }
            Happening::BitmapDone { site, epoch, words } => {
                if self.alive(site, epoch) {
                    self.sites[site].disk.words_durable = words;
                    self.node(site).bitmap_durable();
                    self.pump(site);
                }
            }
            Happening::Scanned {
                site,
                epoch,
                extents,
            } => {
                if self.alive(site, epoch) {
                    self.node(site).data_extents(&extents);
                    self.pump(site);
                }
            }
            Happening::Deliver { link, to } => self.deliver(link, to),
            Happening::LinkUp { site, epoch, link } => {
                if self.alive(site, epoch) && self.wires.contains_key(&link) {
                    if let Some(old) = self.sites[site].link
                        && old > link
                    {
                        return;
                    }
                    self.sites[site].link = Some(link);
                    self.log(|| format!("site {site} link {link} up"));
                    self.node(site).link_up();
                    self.pump(site);
                }
            }
            Happening::LinkDown { site, epoch, link } => {
                if self.alive(site, epoch) && self.sites[site].link == Some(link) {
                    self.sites[site].link = None;
                    self.log(|| format!("site {site} link {link} down"));
                    self.node(site).link_down("lost");
                    self.pump(site);
                }
            }
            Happening::Dial => self.dial(),
            Happening::Start(site, epoch) => {
                if self.sites[site].epoch == epoch && self.sites[site].node.is_none() {
                    self.start(site);
                }
            }
            Happening::Issue(client) => self.issue(client),
            Happening::Reconnect(client) => self.reconnect(client),
            Happening::Fault => {
                if self.faults_left > 0 && !self.calm {
                    self.faults_left -= 1;
                    self.faults += 1;
                    self.fault();
                    let next = if self.chance.percent(20) {
                        self.chance.between(100, 50_000)
                    } else {
                        self.chance.between(50_000, 1_500_000)
                    };
                    self.after(next, Happening::Fault);
                }
            }
            Happening::Cut => {
                let down_us = self.chance.below(800_000);
                self.cut_link(down_us);
            }
        }
    }

    pub fn node(&mut self, site: usize) -> &mut Node<Vec<u64>> {
        self.sites[site].node.as_mut().unwrap()
    }

    // --- effects

    pub fn pump(&mut self, site: usize) {
        loop {
            if let Some((left, power, down_us)) = self.sites[site].kill_after {
                if left == 0 {
                    self.kill(site, power);
                    let epoch = self.sites[site].epoch;
                    self.after(down_us, Happening::Start(site, epoch));
                    return;
                }
                self.sites[site].kill_after = Some((left - 1, power, down_us));
            }
            let Some(node) = self.sites[site].node.as_mut() else {
                return;
            };
            let Some(effect) = node.next_effect() else {
                return;
            };
            self.carry_out(site, effect);
        }
    }

    fn carry_out(&mut self, site: usize, effect: Effect) {
        let epoch = self.sites[site].epoch;
        match effect {
            Effect::Local { id, op, background } => {
                let covered = self.sites[site].disk.flush_begins();
                let usual = if background { 400 } else { 100 };
                // A disk hangs now and then, longer than a new link takes.
                let hangs = self.chance.below(300) == 0;
                let hang_us = if hangs {
                    self.chance.between(20_000, 300_000)
                } else {
                    0
                };
                let delay = self.chance.delay_us(usual) + hang_us;
                self.sites[site].local.insert(id, LocalWork { op, covered });
                self.after(delay, Happening::LocalDone { site, epoch, id });
            }
            Effect::Send(message) => self.send(site, message),
            Effect::CloseLink { reason } => {
                self.log(|| format!("site {site} closes the link: {reason}"));
                if let Some(link) = self.sites[site].link.take() {
                    self.break_link(link, site);
                    self.node(site).link_down(&reason);
                }
            }
            Effect::Reply {
                client,
                cookie,
                reply,
            } => self.replied(site, client, cookie, reply),
            Effect::PersistMeta { version, meta } => {
                self.log(|| {
                    format!(
                        "site {site} persists {version}: {:?} gen {} consistent {} ceding {:?} in_step {:?}",
                        meta.role,
                        meta.generation,
                        meta.consistent,
                        meta.ceding,
                        meta.peer.as_ref().map(|peer| (peer.in_step, peer.full_copy_pending))
                    )
                });
                self.sites[site].metas.push_back((version, *meta));
                let at = (self.now_us + self.chance.delay_us(800)).max(self.sites[site].meta_at_us);
                self.sites[site].meta_at_us = at;
                self.after(at - self.now_us, Happening::MetaDone { site, epoch });
            }
            Effect::PersistActivity { pages } => {
                self.sites[site].pages.push_back(pages);
                let delay = self.chance.delay_us(800);
                self.after(delay, Happening::ActivityDone { site, epoch });
            }
            Effect::SyncBitmap => {
                let words = self.sites[site]
                    .node
                    .as_ref()
                    .unwrap()
                    .dirty()
                    .words()
                    .clone();
                let delay = self.chance.delay_us(8_000);
                self.after(delay, Happening::BitmapDone { site, epoch, words });
            }
            Effect::ScanData => {
                let extents = self.sites[site].disk.data_extents();
                let delay = self.chance.delay_us(1000);
                self.after(
                    delay,
                    Happening::Scanned {
                        site,
                        epoch,
                        extents,
                    },
                );
            }
            Effect::Resize { size_bytes } => {
                self.sites[site].disk.resize(size_bytes);
                let words = self.sites[site].disk.words.clone();
                let activity = ActivityLog::load(size_bytes, &self.sites[site].disk.activity);
                self.node(site).resized(words, activity).unwrap();
            }
            Effect::CutPoint { name, generation } => {
                self.log(|| format!("site {site} cut {name} generation {generation}"));
                self.cuts += 1;
            }
            Effect::HandoverEnded { name, outcome, .. } => {
                self.log(|| format!("site {site} hand-over {name}: {outcome:?}"));
                if outcome.is_ok() {
                    let meta = self.sites[site].node.as_ref().unwrap().meta();
                    assert_eq!(meta.last_cut.as_ref().map(|cut| &cut.name), Some(&name));
                    let again = self.node(site).hand_over(&name, true);
                    assert!(again.is_ok(), "a hand-over is idempotent by name");
                    let Some(Effect::HandoverEnded { .. }) = self.last_effect(site) else {
                        panic!("a repeated hand-over is answered at once");
                    };
                }
            }
            Effect::Event { kind, body } => {
                self.log(|| format!("site {site} event {kind} {body}"));
                self.resyncs += u64::from(kind == "volume.resync-started");
                if kind == "volume.verified" {
                    self.verified(&body);
                }
            }
        }
    }

    /// Carries out all effects but the last, which is returned.
    fn last_effect(&mut self, site: usize) -> Option<Effect> {
        let mut last = None;
        while let Some(effect) = self.sites[site].node.as_mut()?.next_effect() {
            if let Some(before) = last.replace(effect) {
                self.carry_out(site, before);
            }
        }
        last
    }

    fn verified(&mut self, body: &serde_json::Value) {
        self.verify_found += body["differing_leaves"].as_u64().unwrap_or(0);
        let seed = self.seed;
        for (site, sector, value) in std::mem::take(&mut self.corrupted) {
            let leaf = sector as u64 * SECTOR_BYTES / (512 << 10) * (512 << 10);
            let listed = body["differing_offsets"]
                .as_array()
                .unwrap()
                .iter()
                .any(|at| at.as_u64() == Some(leaf));
            let still = self.sites[site].disk.cache[sector] == value
                && self.sites[1 - site].disk.cache[sector] != value;
            assert!(
                listed || !still,
                "seed {seed}: a corrupted block was not found"
            );
        }
    }
}

impl Site {
    pub fn new(disk: Disk) -> Self {
        Self {
            node: None,
            disk,
            epoch: 0,
            link: None,
            local: BTreeMap::new(),
            metas: VecDeque::new(),
            pages: VecDeque::new(),
            boot: 0,
            power_lost_step: 0,
            kill_after: None,
            meta_at_us: 0,
            no_space_until_us: 0,
            fail_next_flush: false,
            destroyed: false,
        }
    }

    /// What this site knows about itself, in memory when it runs.
    pub fn meta(&self) -> &Meta {
        self.node
            .as_ref()
            .map_or(&self.disk.meta, |node| node.meta())
    }
}

// --- processes, disks, links
impl World {
    fn start(&mut self, site: usize) {
        let now = self.now_us;
        let one = &mut self.sites[site];
        if one.destroyed {
            return;
        }
        let mut meta = one.disk.meta.clone();
        let boot = if one.boot == 0 {
            "boot".to_owned()
        } else {
            format!("boot {}", one.boot)
        };
        let power_lost = meta.boot != boot;
        meta.boot = boot;
        let activity = ActivityLog::load(meta.size_bytes, &one.disk.activity);
        let fresh = site == 0 && one.epoch == 0;
        one.kill_after = None;
        one.meta_at_us = now;
        one.node = Some(
            Node::start(Start {
                config: config(self.planted),
                meta,
                words: one.disk.words.clone(),
                activity,
                power_lost,
                empty: one.disk.is_empty(),
                now_us: (now, now as i64 + 1_000_000),
            })
            .unwrap(),
        );
        let epoch = one.epoch;
        self.log(|| format!("site {site} starts, power_lost {power_lost}"));
        if fresh {
            let (mode, policy) = (self.mode, self.policy);
            self.node(site)
                .set_target("other".into(), mode, policy)
                .unwrap();
        }
        self.pump(site);
        self.after(TICK_US, Happening::Tick(site, epoch));
    }

    pub fn kill(&mut self, site: usize, power: bool) {
        let Some(node) = self.sites[site].node.take() else {
            return;
        };
        self.log(|| format!("site {site} dies, power {power}"));
        let was_primary = node.meta().role == Role::Primary;
        let one = &mut self.sites[site];
        let words = node.dirty().words().clone();
        if words.len() == one.disk.words.len() {
            one.disk.words = words;
        }
        one.epoch += 1;
        one.kill_after = None;
        let chance = &mut self.chance;
        for (_, work) in std::mem::take(&mut one.local) {
            let sectors_max = match chance.below(3) {
                0 => 0,
                1 => chance.below(16) as usize,
                _ => usize::MAX,
            };
            match work.op {
                LocalOp::Write { offset, data } => one.disk.write(offset, &data, sectors_max),
                LocalOp::Zero { offset, length } => one.disk.zero(offset, length, sectors_max),
                _ => {}
            }
        }
        let written = chance.below(one.metas.len() as u64 + 1) as usize;
        let last = one.metas.drain(..written).next_back();
        one.metas.clear();
        if let Some((_, meta)) = last {
            one.disk.meta = meta;
        }
        let written = chance.below(one.pages.len() as u64 + 1) as usize;
        for pages in std::mem::take(&mut one.pages).into_iter().take(written) {
            one.disk.put_activity(&pages);
        }
        if power {
            self.power_losses += 1;
            one.disk.lose_power(chance);
            one.boot += 1;
            one.power_lost_step = self.step;
            if was_primary || one.disk.meta.role == Role::Primary {
                self.registers.power_lost(self.step);
            }
        }
        if let Some(link) = one.link.take() {
            self.break_link(link, site);
        }
        for client in &mut self.clients {
            if client.site == site {
                client.connected = false;
                client.connection += 1;
            }
        }
    }

    pub fn kill_soon(&mut self, site: usize, power: bool) {
        let effects = self.chance.below(30) as u32;
        let down_us = match self.chance.below(3) {
            0 => self.chance.between(50_000, 200_000),
            1 => self.chance.between(200_000, 1_200_000),
            _ => self.chance.between(1_000_000, 3_000_000),
        };
        if self.sites[site].node.is_some() {
            self.sites[site].kill_after = Some((effects, power, down_us));
        }
    }

    fn local_done(&mut self, site: usize, id: u64) {
        let now = self.now_us;
        let one = &mut self.sites[site];
        let Some(LocalWork { op, covered }) = one.local.remove(&id) else {
            return;
        };
        let full = now < one.no_space_until_us;
        let outcome = match op {
            LocalOp::Read { offset, length } => LocalOutcome::Data(one.disk.read(offset, length)),
            LocalOp::Write { .. } | LocalOp::Zero { .. } if full => LocalOutcome::Failed(28),
            LocalOp::Write { offset, data } => {
                one.disk.write(offset, &data, usize::MAX);
                LocalOutcome::Done
            }
            LocalOp::Zero { offset, length } => {
                one.disk.zero(offset, length, usize::MAX);
                LocalOutcome::Done
            }
            LocalOp::Flush if std::mem::take(&mut one.fail_next_flush) => LocalOutcome::Failed(5),
            LocalOp::Flush => {
                one.disk.flush_ends(covered);
                LocalOutcome::Done
            }
            LocalOp::Hash { offset, length } => LocalOutcome::Hash(one.disk.hash(offset, length)),
        };
        self.node(site).local_done(id, outcome);
        self.pump(site);
    }

    pub fn no_space(&mut self, site: usize, for_us: u64) {
        self.sites[site].no_space_until_us = self.now_us + for_us;
    }

    fn dial(&mut self) {
        let again = self.chance.between(20_000, 60_000);
        self.after(again, Happening::Dial);
        let both = self.sites.iter().all(|site| site.node.is_some());
        if !both || self.now_us < self.net_down_until_us || self.sites[0].link.is_some() {
            return;
        }
        let link = self.next_link;
        self.next_link += 1;
        let mut wire = Wire::default();
        for site in 0..2 {
            let delay = self.chance.delay_us(300);
            wire.at_us[site] = self.now_us + delay;
            let epoch = self.sites[site].epoch;
            self.after(delay, Happening::LinkUp { site, epoch, link });
        }
        // The dialler knows at once that it has a connection.
        self.sites[0].link = Some(link);
        self.wires.retain(|number, _| number + 4 > link);
        self.wires.insert(link, wire);
    }

    fn send(&mut self, site: usize, message: Message) {
        let to = 1 - site;
        let Some(link) = self.sites[site].link else {
            return;
        };
        let delay = self.chance.delay_us(150);
        let now = self.now_us;
        self.log(|| {
            let mut text = format!("{message:?}");
            text.truncate(90);
            format!("site {site} sends on {link}: {text}")
        });
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        if wire.cut {
            return;
        }
        wire.queue[to].push_back(message);
        let at = (now + delay).max(wire.at_us[to]).max(wire.stalled_until_us);
        wire.at_us[to] = at;
        self.after(at - now, Happening::Deliver { link, to });
    }

    fn deliver(&mut self, link: u64, to: usize) {
        let Some(message) = self
            .wires
            .get_mut(&link)
            .and_then(|wire| wire.queue[to].pop_front())
        else {
            return;
        };
        let one = &mut self.sites[to];
        if one.link == Some(link)
            && let Some(node) = one.node.as_mut()
        {
            node.peer(message);
            self.pump(to);
        }
    }

    /// The link ends on the side of `by`; the other side learns of it some time, or never.
    fn break_link(&mut self, link: u64, by: usize) {
        let other = 1 - by;
        let keep = self.chance.percent(50);
        let never = self.chance.percent(10);
        let delay = self.chance.delay_us(3_000);
        let Some(wire) = self.wires.get_mut(&link) else {
            return;
        };
        wire.cut = true;
        if !keep {
            wire.queue[other].clear();
        }
        let at = wire.at_us[other].max(self.now_us) + delay;
        let epoch = self.sites[other].epoch;
        if !never {
            self.after(
                at - self.now_us,
                Happening::LinkDown {
                    site: other,
                    epoch,
                    link,
                },
            );
        }
    }

    pub fn cut_link(&mut self, down_us: u64) {
        self.log(|| format!("the link is cut for {down_us} us"));
        self.net_down_until_us = self.now_us + down_us;
        for site in 0..2 {
            if let Some(link) = self.sites[site].link {
                self.break_link(link, site);
            }
        }
    }

    pub fn stall_link(&mut self, for_us: u64) {
        self.log(|| format!("the link stalls for {for_us} us"));
        let until = self.now_us + for_us;
        for wire in self.wires.values_mut() {
            wire.stalled_until_us = until;
        }
    }
}
