use super::*;
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;

/// Root memory made of vectors; page numbers count up from 1000.
pub(crate) struct FakeRoot {
    next: u64,
    pub(crate) free: u64,
    pub(crate) given: BTreeSet<u64>,
}

pub(crate) struct FakeRun {
    page: u64,
    bytes: Box<[u8]>,
}

impl FakeRoot {
    pub(crate) fn new(free: u64) -> Self {
        Self { next: 1000, free, given: BTreeSet::new() }
    }

    fn allocate(&mut self, pages: u64) -> Option<FakeRun> {
        self.free = self.free.checked_sub(pages)?;
        let page = self.next;
        self.next += pages;
        Some(FakeRun { page, bytes: vec![0; usize::try_from(pages).unwrap() * PAGE].into() })
    }
}

impl RootMemory for FakeRoot {
    type Run = FakeRun;

    fn allocate_page(&mut self) -> Option<FakeRun> {
        self.allocate(1)
    }
    fn allocate_block(&mut self) -> Option<FakeRun> {
        self.allocate(BLOCK_PAGES)
    }
    fn free(&mut self, run: FakeRun) {
        self.free += u64::try_from(run.bytes.len() / PAGE).unwrap();
    }
    fn free_pages(&self) -> u64 {
        self.free
    }
    fn page_number(&self, run: &FakeRun) -> u64 {
        run.page
    }
    fn read(&self, run: &FakeRun, offset: usize, buf: &mut [u8]) {
        buf.copy_from_slice(&run.bytes[offset..offset + buf.len()]);
    }
    fn write(&mut self, run: &mut FakeRun, offset: usize, data: &[u8]) {
        run.bytes[offset..offset + data.len()].copy_from_slice(data);
    }
    fn give_away(&mut self, page: FakeRun) -> u64 {
        self.given.insert(page.page);
        page.page
    }
    fn take_back(&mut self, page_number: u64) -> bool {
        let known = self.given.remove(&page_number);
        self.free += u64::from(known);
        known
    }
    fn shared_page(&self, bytes: &[u8]) -> Option<u64> {
        (bytes.len() == PAGE).then_some(77)
    }
}

const FREE_START: u64 = 0x1_0000;
const FREE_END: u64 = 0x5_0000;
const WINDOW: Range<u64> = 0x20_0000..0x22_0000;

#[test]
fn reads_and_writes_go_where_the_pages_are() {
    let mut root = FakeRoot::new(100);
    let mut child = ChildMemory::new(FREE_START, FREE_END, &WINDOW);
    child.place_private(0x1000, &mut root).unwrap();
    child.place_private(0x2000, &mut root).unwrap();
    let mut view = child.view(&mut root);
    view.write(Gpa(0x1ffe), b"abcd").unwrap();
    let mut buf = [0; 4];
    view.read(Gpa(0x1ffe), &mut buf).unwrap();
    assert_eq!(&buf, b"abcd");
    assert_eq!(view.write(Gpa(0x2ffe), b"abcd"), Err(NotMapped { gpa: Gpa(0x2ffe) }));
    assert_eq!(view.read(Gpa(0), &mut buf), Err(NotMapped { gpa: Gpa(0) }));
    for gpa in [u64::MAX, u64::MAX - 1, 1 << 63, FREE_END] {
        assert!(view.read(Gpa(gpa), &mut buf).is_err());
        assert!(view.write(Gpa(gpa), &buf).is_err());
    }
    assert_eq!(child.private_pages(), 2);
}

#[test]
fn shared_pages_are_read_only() {
    let mut root = FakeRoot::new(100);
    let mut child = ChildMemory::new(FREE_START, FREE_END, &WINDOW);
    let page: &'static [u8] = Box::leak(vec![7; PAGE].into_boxed_slice());
    assert_eq!(child.place_shared(0x3000, page, &root), Ok(77));
    assert_eq!(child.place_shared(0x3000, page, &root), Err(PlaceError::BadAddress));
    assert_eq!(child.place_shared(0x4000, &page[..8], &root), Err(PlaceError::BadAddress));
    let mut view = child.view(&mut root);
    let mut buf = [0; 2];
    view.read(Gpa(0x3ffe), &mut buf).unwrap();
    assert_eq!(buf, [7, 7]);
    assert!(view.write(Gpa(0x3000), &buf).is_err());
    assert_eq!(child.private_pages(), 0);
}

#[test]
fn files_are_shown_slot_by_slot() {
    let mut root = FakeRoot::new(100);
    let mut child = ChildMemory::new(FREE_START, FREE_END, &WINDOW);
    let pages: &'static [u8] = Box::leak(vec![6; 2 * PAGE].into_boxed_slice());
    let mut view = child.view(&mut root);
    assert_eq!(view.show(0x1000, pages), Err(Errno::EINVAL));
    assert_eq!(view.show(0x2_0000, pages), Err(Errno::EINVAL));
    assert_eq!(view.show(u64::MAX - 0xffff, pages), Err(Errno::EINVAL));
    assert_eq!(view.show(0, &pages[..100]), Err(Errno::EINVAL));
    assert_eq!(view.show(0, &[]), Err(Errno::EINVAL));
    view.show(0x1_0000, pages).unwrap();
    assert_eq!(view.show(0x1_0000, pages), Err(Errno::EEXIST));
    let mut buf = [0; 2];
    view.read(Gpa(0x21_1ffe), &mut buf).unwrap();
    assert_eq!(buf, [6, 6]);
    view.child.set_limit(BLOCK_PAGES - 1);
    assert_eq!(view.show(0, pages), Err(Errno::ENOSPC));
    view.child.set_limit(BLOCK_PAGES);
    for gpa in [0x21_1fff, 0x21_2000, 0x20_0000] {
        assert!(view.read(Gpa(gpa), &mut buf).is_err());
    }
    assert!(view.write(Gpa(0x21_0000), &buf).is_err());
    assert_eq!(view.hide(0x1_0000, 0x1000), Err(Errno::EINVAL));
    assert_eq!(view.hide(0, 0x2000), Err(Errno::EINVAL));
    view.hide(0x1_0000, 0x2000).unwrap();
    assert!(view.read(Gpa(0x21_0000), &mut buf).is_err());
    let show = WindowChange::Show { target: 0x210, sources: vec![77, 77] };
    assert_eq!(child.take_window_changes(), [show, WindowChange::Hide { target: 0x210, count: 2 }]);
    assert_eq!(child.take_window_changes(), []);
    assert_eq!(child.private_pages(), 0);
}

#[test]
fn free_memory_is_backed_by_writes_and_not_by_reads() {
    let mut root = FakeRoot::new(40);
    let mut child = ChildMemory::new(FREE_START, FREE_END, &WINDOW);
    let view = child.view(&mut root);
    let mut buf = [1; 2];
    view.read(Gpa(FREE_START + BLOCK_SIZE - 1), &mut buf).unwrap();
    assert_eq!(buf, [0, 0]);
    assert_eq!(child.private_pages(), 0);
    let mut view = child.view(&mut root);
    view.write(Gpa(FREE_START + BLOCK_SIZE - 1), b"xy").unwrap();
    assert_eq!(child.private_pages(), 2 * BLOCK_PAGES);
    // Blocks that follow each other are mapped together.
    assert_eq!(child.take_pending(&root), Some((0x10, (1000..1032).collect())));
    assert_eq!(child.take_pending(&root), None);
    // No third block: eight pages are left.
    assert_eq!(child.back(2, &mut root), Err(PlaceError::OutOfMemory));
    assert_eq!(child.back(3, &mut root), Err(PlaceError::OutOfMemory));
    assert_eq!(child.back(4, &mut root), Err(PlaceError::BadAddress));
    child.release(&mut root);
    assert_eq!(root.free, 40);
}

#[test]
fn who_touches_block_after_block_gets_more_at_a_time() {
    const BLOCKS: u64 = 400;
    const END: u64 = FREE_START + BLOCKS * BLOCK_SIZE;
    // Five here and there, and all but two of the rest: what is not asked for may be lacking.
    let mut root = FakeRoot::new((5 + 248) * BLOCK_PAGES);
    let mut child = ChildMemory::new(FREE_START, END, &(END..END));
    let mut touch = |child: &mut ChildMemory<'_, FakeRoot>, block: usize| {
        let before = child.private_pages();
        child.touched(block, &mut root).map(|()| (child.private_pages() - before) / BLOCK_PAGES)
    };
    // Here and there: each touch is one block.
    for block in [100, 50, 90, 10, 70] {
        assert_eq!(touch(&mut child, block), Ok(1));
    }
    let (mut block, mut touches) = (150, 0);
    while block < 390 {
        let got = touch(&mut child, block).unwrap();
        assert!((1..=MOST_AHEAD as u64).contains(&got));
        block += usize::try_from(got).unwrap();
        touches += 1;
    }
    assert!((60..120).contains(&touches), "{touches}");
    while touch(&mut child, block).is_ok() {
        block += 1;
    }
    assert_eq!((block, root.free), (398, 0));
    child.release(&mut root);
    assert_eq!(root.free, (5 + 248) * BLOCK_PAGES);
}

#[test]
fn pages_go_where_they_may_only() {
    let mut root = FakeRoot::new(1);
    let mut child = ChildMemory::new(FREE_START, FREE_END, &WINDOW);
    assert_eq!(child.place_private(0x1001, &mut root), Err(PlaceError::BadAddress));
    assert_eq!(child.place_private(FREE_START, &mut root), Err(PlaceError::BadAddress));
    assert_eq!(child.place_private(0x1000, &mut root), Ok(1000));
    assert_eq!(child.place_private(0x1000, &mut root), Err(PlaceError::BadAddress));
    assert_eq!(child.place_private(0x2000, &mut root), Err(PlaceError::OutOfMemory));
}
