//! The life of a partition and the account of its memory: what is deposited pays for everything, and all of it comes back.
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use kernels::child::{ALL, Child, FLAGS, VP, deposit};
use kernels::cpu::{self, Trap};
use kernels::memory::OwnPage;
use kernels::parent::{Parent, pages};
use kernels::{Failure, Kernel, Outcome, ensure, ensure_eq};
use tlfs::addr::{PartitionId, VpIndex};
use tlfs::calls::{MapGpaFlags, WithdrawMemoryHeader};
use tlfs::hypercall::{CallCode, HypercallInput};
use tlfs::status::HvStatus;
use tlfs::vp_page::HvVpStatePageType;
use zerocopy::IntoBytes;

kernels::kernel!(run);

fn run(kernel: &mut Kernel) {
    Parent::with(kernel, cases);
}

fn cases(kernel: &mut Kernel, parent: &mut Parent) {
    kernel.case("nothing is free of charge", |kernel| paid_for(kernel, parent));
    kernel.case("a deposited page is gone, and comes back zeroed", |kernel| gone_and_back(kernel, parent));
    kernel.case("what can be deposited", |kernel| depositable(kernel, parent));
    kernel.case("withdrawing ends with NO_RESOURCES", |kernel| withdraw_all(kernel, parent));
    kernel.case("the order of a life", |kernel| states(kernel, parent));
    kernel.case("everything comes back", |kernel| comes_back(kernel, parent));
    kernel.case("deleting returns what was not withdrawn", |kernel| delete_returns(kernel, parent));
    kernel.case("mappings", |kernel| mappings(kernel, parent));
    kernel.case("an id is never used twice", |kernel| ids(kernel, parent));
    kernel.case("nobody is his own parent", |kernel| own_child(kernel, parent));
    kernel.case("a long list is continued", |kernel| long_list(kernel, parent));
    kernel.case("many partitions one after the other", |kernel| many(kernel, parent));
}

fn status<T>(result: Result<T, hvclient::CallError>) -> HvStatus {
    result.map_or_else(|error| error.status, |_| HvStatus::SUCCESS)
}

fn partial<T>(result: Result<T, hvclient::PartialCall>) -> (HvStatus, u64) {
    result.map_or_else(|error| (error.error.status, error.done), |_| (HvStatus::SUCCESS, 0))
}

fn take(kernel: &mut Kernel, parent: &mut Parent, pages: u64) -> Outcome<PartitionId> {
    let id = parent.client.create_partition(FLAGS)?;
    deposit(kernel, parent, id, pages)?;
    Ok(id)
}

fn paid_for(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = parent.client.create_partition(FLAGS)?;
    ensure_eq!(status(parent.client.initialize_partition(id)), HvStatus::INSUFFICIENT_MEMORY, "initialize for nothing");
    // One page after the other, until each step succeeds.
    let mut paid = 0;
    let mut pay =
        |kernel: &mut Kernel, parent: &mut Parent, what: &str, step: &mut dyn FnMut(&mut Parent) -> HvStatus| {
            let before = paid;
            loop {
                match step(parent) {
                    HvStatus::SUCCESS if paid > before || what == "map" => return Ok(()),
                    HvStatus::SUCCESS => return Err(Failure(kernels::alloc::format!("{what} was for nothing"))),
                    HvStatus::INSUFFICIENT_MEMORY if paid < before + 16 => {
                        deposit(kernel, parent, id, 1)?;
                        paid += 1;
                    }
                    other => return Err(Failure(kernels::alloc::format!("{what}: {other}"))),
                }
            }
        };
    pay(kernel, parent, "initialize", &mut |parent| status(parent.client.initialize_partition(id)))?;
    pay(kernel, parent, "create VP", &mut |parent| status(parent.client.create_vp(id, VP)))?;
    let own = kernel.memory.take(1).number();
    pay(kernel, parent, "map", &mut |parent| partial(parent.client.map_gpa_pages(id, 5, ALL, &pages(own, 1))).0)?;
    for kind in [HvVpStatePageType::REGISTERS, HvVpStatePageType::INTERCEPT_MESSAGE] {
        pay(kernel, parent, "state page", &mut |parent| status(parent.client.map_vp_state_page(id, VP, kind)))?;
    }
    let balance = parent.client.memory_balance(id)?;
    ensure_eq!(balance.pages_available + balance.pages_in_use, paid, "pages in the account");
    ensure_eq!(balance.pages_available, 0, "pages left over");
    parent.client.finalize_partition(id)?;
    let balance = parent.client.memory_balance(id)?;
    ensure_eq!((balance.pages_available, balance.pages_in_use), (paid, 0), "the account after finalize");
    Ok(parent.client.delete_partition(id)?)
}

fn gone_and_back(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = parent.client.create_partition(FLAGS)?;
    let page = kernel.memory.take(1);
    page.fill(0x77);
    parent.client.deposit(id, &[page.number()])?;
    ensure_eq!(cpu::read_byte(page.address()), Err(Trap::GP), "read of a deposited page");
    // SAFETY: the page belongs to no one here.
    let result = unsafe { cpu::write_byte(page.address() + 4095, 1) };
    ensure_eq!(result, Err(Trap::GP), "write to a deposited page");
    let balance = parent.client.memory_balance(id)?;
    ensure_eq!((balance.pages_available, balance.pages_in_use), (1, 0), "balance");
    let mut back = kernels::alloc::vec::Vec::new();
    parent.client.withdraw(id, |number| back.push(number))?;
    ensure_eq!(back, [page.number()], "pages withdrawn");
    ensure!(page.is_all(0), "the page came back with what it held before");
    page.fill(0x88);
    ensure!(page.is_all(0x88), "the page does not keep what is written");
    Ok(parent.client.delete_partition(id)?)
}

fn depositable(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = parent.client.create_partition(FLAGS)?;
    let pages = kernel.memory.take(4);
    let number = pages.number();
    // Twice in one list: the first goes, the second is not the caller's any more.
    let result = partial(parent.client.deposit(id, &[number, number, number + 1]));
    ensure_eq!(result.1, 1, "pages deposited of a list that names one twice");
    ensure!(result.0 != HvStatus::SUCCESS, "the same page was deposited twice");
    for page in [1 << 40, u64::MAX, (1 << 52) - 1, 0xfee00, parent.raw.entry >> 12] {
        let (status, done) = partial(parent.client.deposit(id, &[page]));
        ensure!(status != HvStatus::SUCCESS && done == 0, "page number {page:#x} was deposited");
    }
    // The hypervisor's own memory: its image at 1 MiB.
    let (status, _) = partial(parent.client.deposit(id, &[0x100]));
    ensure!(status != HvStatus::SUCCESS, "the hypervisor's first page was deposited");
    let nobody = PartitionId(0x1234_5678_0000);
    let result = partial(parent.client.deposit(nobody, &[number + 1]));
    ensure_eq!(result, (HvStatus::INVALID_PARTITION_ID, 0), "deposit for nobody");
    ensure!(cpu::read_byte(pages.address() + 4096).is_ok(), "a refused page is gone");
    Ok(parent.client.delete_partition(id)?)
}

fn withdraw_all(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = take(kernel, parent, 5)?;
    let raw = &parent.raw;
    let header = WithdrawMemoryHeader { partition_id: id, proximity_domain_info: 0 };
    raw.input.write(0, header.as_bytes());
    let control = HypercallInput::new(CallCode::WITHDRAW_MEMORY);
    let returned = raw.memory(control.with_reps(2, 0)).map_err(|_| "it faulted")?;
    ensure_eq!((returned.status(), returned.reps()), (HvStatus::SUCCESS, 2), "two of five");
    raw.output.fill(0xa5);
    let returned = raw.memory(control.with_reps(10, 0)).map_err(|_| "it faulted")?;
    ensure_eq!((returned.status(), returned.reps()), (HvStatus::NO_RESOURCES, 3), "ten of three");
    ensure!(raw.output.read_u64(16) != 0xa5a5_a5a5_a5a5_a5a5, "the third number is missing");
    ensure_eq!(raw.output.read_u64(24), 0xa5a5_a5a5_a5a5_a5a5, "fourth number");
    let returned = raw.memory(control.with_reps(1, 0)).map_err(|_| "it faulted")?;
    ensure_eq!((returned.status(), returned.reps()), (HvStatus::NO_RESOURCES, 0), "one of none");
    Ok(parent.client.delete_partition(id)?)
}

fn states(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = take(kernel, parent, 32)?;
    let client = &mut parent.client;
    let wrong = HvStatus::INVALID_PARTITION_STATE;
    ensure_eq!(status(client.create_vp(id, VP)), wrong, "a VP before initialize");
    let own = kernel.memory.take(1).number();
    ensure_eq!(partial(client.map_gpa_pages(id, 0, ALL, &pages(own, 1))).0, wrong, "a mapping before initialize");
    ensure_eq!(status(client.finalize_partition(id)), wrong, "finalize before initialize");
    client.initialize_partition(id)?;
    ensure_eq!(status(client.initialize_partition(id)), wrong, "initialize again");
    ensure_eq!(status(client.delete_partition(id)), wrong, "delete while it is active");
    client.create_vp(id, VP)?;
    ensure!(status(client.create_vp(id, VP)) != HvStatus::SUCCESS, "the same VP was created twice");
    ensure_eq!(status(client.create_vp(id, VpIndex(4000))), HvStatus::INVALID_VP_INDEX, "VP 4000");
    ensure_eq!(status(client.delete_vp(id, VpIndex(1))), HvStatus::INVALID_VP_INDEX, "deleting VP 1");
    client.delete_vp(id, VP)?;
    ensure_eq!(status(client.delete_vp(id, VP)), HvStatus::INVALID_VP_INDEX, "deleting VP 0 again");
    client.create_vp(id, VP)?;
    client.finalize_partition(id)?;
    ensure_eq!(status(client.create_vp(id, VP)), wrong, "a VP after finalize");
    ensure_eq!(partial(client.map_gpa_pages(id, 0, ALL, &pages(own, 1))).0, wrong, "a mapping after finalize");
    ensure_eq!(partial(client.deposit(id, &[own])).0, wrong, "a deposit after finalize");
    ensure_eq!(status(client.finalize_partition(id)), wrong, "finalize again");
    client.delete_partition(id)?;
    ensure_eq!(status(client.delete_partition(id)), HvStatus::INVALID_PARTITION_ID, "delete again");
    Ok(())
}

fn comes_back(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let child = Child::new(kernel, parent, &[0xf4])?;
    let (id, memory) = (child.id, child.memory);
    let balance = parent.client.memory_balance(id)?;
    ensure!(balance.pages_in_use >= 5, "only {} pages in use", balance.pages_in_use);
    let all = balance.pages_available + balance.pages_in_use;
    let (registers, message) = (parent.client.memory_balance(id)?.pages_in_use, child.delete(parent)?);
    ensure!(registers > 0, "nothing was in use");
    ensure_eq!(message, all, "pages that came back");
    // What was mapped never left, and can be given away now.
    let other = parent.client.create_partition(FLAGS)?;
    parent.client.deposit(other, &pages(memory.number(), 32))?;
    Ok(parent.client.delete_partition(other)?)
}

fn delete_returns(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = parent.client.create_partition(FLAGS)?;
    let page = kernel.memory.take(1);
    page.fill(0x99);
    parent.client.deposit(id, &[page.number()])?;
    parent.client.delete_partition(id)?;
    ensure!(page.is_all(0), "the page is not back, or not cleared");
    Ok(())
}

fn mappings(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = take(kernel, parent, 32)?;
    parent.client.initialize_partition(id)?;
    let own = kernel.memory.take(4);
    let client = &mut parent.client;
    client.map_gpa_pages(id, 100, ALL, &pages(own.number(), 2))?;
    let result = partial(client.deposit(id, &[own.number()]));
    ensure_eq!(result, (HvStatus::OBJECT_IN_USE, 0), "deposit of a mapped page");
    // The same page twice, at two places.
    client.map_gpa_pages(id, 200, MapGpaFlags::READABLE, &pages(own.number(), 1))?;
    client.unmap_gpa_pages(id, 100, 2)?;
    let result = partial(client.deposit(id, &[own.number()]));
    ensure_eq!(result, (HvStatus::OBJECT_IN_USE, 0), "deposit of a page that is mapped once more");
    client.unmap_gpa_pages(id, 200, 1)?;
    client.deposit(id, &[own.number()])?;
    let result = partial(client.map_gpa_pages(id, 100, ALL, &pages(own.number(), 1)));
    ensure!(result.0 != HvStatus::SUCCESS, "a deposited page was mapped");
    // A list with a bad page in the middle is done up to it.
    let bad = [("the hypervisor's memory", 0x100), ("no memory", 1 << 39), ("no address", u64::MAX - 3)];
    for (what, page) in bad {
        let result = partial(client.map_gpa_pages(id, 100, ALL, &pages(page, 1)));
        ensure!(result.0 != HvStatus::SUCCESS && result.1 == 0, "{what} was mapped");
    }
    let flags = [
        ("writable but not readable", MapGpaFlags::WRITABLE),
        ("unknown flags", MapGpaFlags(1 << 9 | 1)),
        ("no access, but writable", MapGpaFlags::NO_ACCESS | MapGpaFlags::WRITABLE),
    ];
    for (what, flags) in flags {
        let result = partial(client.map_gpa_pages(id, 100, flags, &pages(own.number() + 1, 1)));
        ensure_eq!(result, (HvStatus::INVALID_PARAMETER, 0), "{what}");
    }
    let result = partial(client.map_gpa_pages(id, 1 << 50, ALL, &pages(own.number() + 1, 1)));
    ensure_eq!(result.0, HvStatus::INVALID_PARAMETER, "a target beyond the address space");
    client.finalize_partition(id)?;
    Ok(client.delete_partition(id)?)
}

fn ids(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let mut seen = kernels::alloc::vec::Vec::new();
    for _ in 0..50 {
        let id = take(kernel, parent, 1)?;
        ensure!(!seen.contains(&id), "{id:?} was given out twice");
        seen.push(id);
        parent.client.delete_partition(id)?;
        ensure_eq!(
            status(parent.client.memory_balance(id)),
            HvStatus::INVALID_PARTITION_ID,
            "the balance of a dead one"
        );
    }
    Ok(())
}

/// What a parent may do to its children it may not do to itself, by whatever name.
fn own_child(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    parent.raw.memory(HypercallInput::new(CallCode::GET_PARTITION_ID)).map_err(|_| "GetPartitionId faults")?;
    let own = PartitionId(parent.raw.output.read_u64(0));
    let page = kernel.memory.take(1).number();
    let client = &mut parent.client;
    for id in [own, PartitionId::SELF, PartitionId::INVALID, PartitionId(own.0 + 1)] {
        let wrong = HvStatus::INVALID_PARTITION_ID;
        ensure_eq!(status(client.initialize_partition(id)), wrong, "initialize {id:?}");
        ensure_eq!(status(client.finalize_partition(id)), wrong, "finalize {id:?}");
        ensure_eq!(status(client.delete_partition(id)), wrong, "delete {id:?}");
        ensure_eq!(status(client.create_vp(id, VpIndex(1))), wrong, "create a VP of {id:?}");
        ensure_eq!(status(client.delete_vp(id, VP)), wrong, "delete a VP of {id:?}");
        ensure_eq!(partial(client.map_gpa_pages(id, 0x1_0000, ALL, &[page])).0, wrong, "map into {id:?}");
        ensure_eq!(partial(client.unmap_gpa_pages(id, 0x1_0000, 1)).0, wrong, "unmap from {id:?}");
        ensure_eq!(status(client.withdraw(id, |_| {})), wrong, "withdraw from {id:?}");
        let dispatch = client.dispatch(id, VP, tlfs::calls::DispatchVpFlags::empty());
        ensure_eq!(status(dispatch), wrong, "dispatch {id:?}");
        let page = client.map_vp_state_page(id, VP, HvVpStatePageType::REGISTERS);
        ensure_eq!(status(page), wrong, "a state page of {id:?}");
        ensure_eq!(status(client.assert_interrupt(id, 0, 0x50)), wrong, "an interrupt in {id:?}");
    }
    Ok(())
}

fn long_list(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    let id = take(kernel, parent, 64)?;
    parent.client.initialize_partition(id)?;
    let own = kernel.memory.take(500);
    // One call with 500 elements is more than 50 µs of work here: the hypervisor has to go on in steps by itself.
    parent.client.map_gpa_pages(id, 0x1000, ALL, &pages(own.number(), 500))?;
    let result = partial(parent.client.deposit(id, &[own.number() + 499]));
    ensure_eq!(result.0, HvStatus::OBJECT_IN_USE, "the last page is mapped");
    parent.client.unmap_gpa_pages(id, 0x1000, 500)?;
    parent.client.deposit(id, &[own.number() + 499])?;
    parent.client.finalize_partition(id)?;
    Ok(parent.client.delete_partition(id)?)
}

fn many(kernel: &mut Kernel, parent: &mut Parent) -> Outcome {
    // All alive at a time, out of one piece of memory that is used again and again.
    let pool = kernel.memory.take(320);
    for _ in 0..10 {
        let mut alive = kernels::alloc::vec::Vec::new();
        for index in 0..20 {
            let id = parent.client.create_partition(FLAGS)?;
            parent.client.deposit(id, &pages(pool.number() + index * 16, 16))?;
            parent.client.initialize_partition(id)?;
            parent.client.create_vp(id, VP)?;
            alive.push(id);
        }
        for id in alive {
            parent.client.finalize_partition(id)?;
            let mut count = 0;
            parent.client.withdraw(id, |_| count += 1)?;
            ensure_eq!(count, 16, "pages of {id:?} that came back");
            parent.client.delete_partition(id)?;
        }
    }
    let whole: OwnPage = pool;
    ensure!(whole.is_all(0), "memory came back uncleared");
    Ok(())
}
