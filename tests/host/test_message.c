// SPDX-License-Identifier: BSD-2-Clause
// Messages at the stream head, with the head's own copies (kernel/stream.c): what random puts and gets show must be
// what a model says, byte for byte and count for count; water marks, priorities, faults, references, pages that are not
// mapped.
// SOURCES: kernel/message.c kernel/stream.c kernel/copy.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/copy.h"
#include "kernel/file_lock.h"
#include "kernel/lock.h"
#include "kernel/message.h"
#include "kernel/page.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/process.h"
#include "kernel/signal.h"
#include "kernel/usercopy.h"
#include "kernel/vmm.h"
#include "shim.h"

#define PIECES	     4
#define PIECE_MOST   700
#define CONTROL_MOST 40
#define MODEL_MOST   64

// ---- what stands below and beside the head: a program's memory is the host's, but for one address ----

static uintptr_t bad_address; // a step that touches it is a fault
static bool kill_pending;

static int step(void *to, const void *from, uintptr_t user, size_t bytes)
{
	if (bad_address >= user && bad_address < user + bytes)
		return -EFAULT;
	assert_true((user & (PAGE_SIZE - 1)) + bytes <= PAGE_SIZE);
	memcpy(to, from, bytes);
	return 0;
}
int user_step_in(void *to, uintptr_t from, size_t bytes)
{
	return step(to, (void *)from, from, bytes);
}
int user_step_out(uintptr_t to, const void *from, size_t bytes)
{
	return step((void *)to, from, to, bytes);
}
int user_read_now(void *to, uintptr_t from, size_t bytes)
{
	return step(to, (void *)from, from, bytes);
}
int user_write_now(uintptr_t to, const void *from, size_t bytes)
{
	return step((void *)to, from, to, bytes);
}
int uspace_page(struct uspace *space, uintptr_t address, unsigned access, struct page **out)
{
	*out = NULL;
	return 0;
}
struct uspace *process_space(void)
{
	return NULL;
}
struct task *task_current(void)
{
	return NULL;
}
void signal_task(struct task *t, int number, const struct signal_info *info) {}
bool signal_kills(void)
{
	return kill_pending;
}
bool waitq_sleep_interruptible(struct waitq *waiters, struct spinlock *lock, uint64_t ns)
{
	if (ns == UINT64_MAX)
		waitq_sleep(waiters, lock);
	else
		(void)waitq_sleep_for(waiters, lock, ns);
	return true;
}
void file_locks_stream_gone(struct stream *s) {}
void stream_only_flies(void) {}

// ---- a module that makes messages ----

struct note {
	struct message message; // first
	uint32_t lens[PIECES];
	uint8_t *pieces[PIECES];
	uint8_t control[CONTROL_MOST];
};
static struct pool notes = POOL_INIT("note", struct note, 256);
static unsigned freed;

static const void *note_piece(const struct message *m, uint32_t offset, uint32_t *bytes)
{
	const struct note *n = CONTAINER_OF(m, const struct note, message);
	unsigned at = 0;

	assert_true(offset < m->bytes);
	while (offset >= n->lens[at])
		offset -= n->lens[at++];
	*bytes = n->lens[at] - offset;
	return n->pieces[at] + offset;
}
static void note_free(struct message *m)
{
	struct note *n = CONTAINER_OF(m, struct note, message);

	for (unsigned i = 0; i < PIECES; i++)
		if (n->lens[i])
			kpages_free(n->pieces[i], PIECE_MOST);
	pool_free(&notes, n);
	freed++;
}
static const struct message_kind note_kind = {.piece = note_piece, .free = note_free};

static struct note *make(uint32_t control_bytes, const uint32_t lens[PIECES],
			 enum message_band band)
{
	struct note *n = pool_alloc(&notes);

	n->message = (struct message){.kind = &note_kind,
				      .control = control_bytes ? n->control : NULL,
				      .control_bytes = control_bytes,
				      .band = (uint8_t)band};
	for (unsigned i = 0; i < control_bytes; i++)
		n->control[i] = (uint8_t)shim_random();
	for (unsigned i = 0; i < PIECES; i++) {
		n->lens[i] = lens[i];
		n->message.bytes += lens[i];
		if (!lens[i])
			continue;
		n->pieces[i] = kpages_alloc(PIECE_MOST);
		for (unsigned j = 0; j < lens[i]; j++)
			n->pieces[i][j] = (uint8_t)shim_random();
	}
	n->message.cost = n->message.bytes + 100;
	return n;
}

static struct note *make_one(uint32_t bytes, enum message_band band)
{
	return make(4, (uint32_t[PIECES]){bytes}, band);
}

static void put(struct message_queue *q, struct note *n)
{
	wtd_disable();
	message_put(q, &n->message);
	wtd_enable();
}

static bool may_put(struct message_queue *q, enum message_band band, uint32_t cost)
{
	bool may;

	wtd_disable();
	may = message_may_put(q, band, cost, 0);
	wtd_enable();
	return may;
}

static struct stream_io io_of(struct stream_part *part, void *at, size_t bytes)
{
	*part = (struct stream_part){(uintptr_t)at, bytes};
	return (struct stream_io){.parts = part, .count = 1, .left = bytes};
}

// ---- the head's part ----

static struct message_queue q;
static unsigned enabled;

static void back_enable(struct message_queue *which)
{
	assert_ptr_equal(which, &q);
	enabled++;
}

static unsigned poll_messages(struct stream *s)
{
	return message_events(&q);
}
static void closed(struct stream *s) {}
static const struct stream_ops ops = {
    .kind = STREAM_DEVICE, .poll = poll_messages, .close = closed};
static struct stream stream;

static int setup(void **state)
{
	shim_init(2048);
	stream_init(&stream, &ops, STREAM_RDWR);
	message_queue_init(&q, &stream, 4000, back_enable);
	bad_address = 0;
	freed = enabled = 0;
	return 0;
}
static int teardown(void **state)
{
	message_flush(&q);
	shim_finish();
	return 0;
}

// ---- the model ----

struct expected {
	uint8_t control[CONTROL_MOST], data[PIECES * PIECE_MOST];
	uint32_t control_bytes, control_at, bytes, at;
};
static struct expected model[MESSAGE_BANDS][MODEL_MOST];
static unsigned model_count[MESSAGE_BANDS];

static void put_random(void)
{
	enum message_band band = shim_random_below(4) ? MESSAGE_NORMAL : MESSAGE_HIGH;
	uint32_t lens[PIECES], at = 0;
	struct expected *e;
	struct note *n;

	if (model_count[band] == MODEL_MOST)
		return;
	for (unsigned i = 0; i < PIECES; i++)
		lens[i] = shim_random_below(3) ? (uint32_t)shim_random_below(PIECE_MOST + 1) : 0;
	n = make((uint32_t)shim_random_below(CONTROL_MOST + 1), lens, band);
	e = &model[band][model_count[band]++];
	*e =
	    (struct expected){.control_bytes = n->message.control_bytes, .bytes = n->message.bytes};
	memcpy(e->control, n->control, e->control_bytes);
	for (unsigned i = 0; i < PIECES; i++, at += lens[i - 1])
		if (lens[i])
			memcpy(e->data + at, n->pieces[i], lens[i]);
	put(&q, n);
}

static uint64_t get_random(void)
{
	static uint8_t control[CONTROL_MOST + 8], data[PIECES * PIECE_MOST + 8];
	size_t control_room = (size_t)shim_random_below(sizeof(control) + 1),
	       data_room = (size_t)shim_random_below(sizeof(data) + 1);
	struct stream_part parts[2];
	struct stream_io control_io = io_of(&parts[0], control, control_room),
			 data_io = io_of(&parts[1], data, data_room);
	struct message_get get = {.control = shim_random_below(4) ? &control_io : NULL,
				  .data = shim_random_below(4) ? &data_io : NULL,
				  .flags = (unsigned)shim_random_below(8)};
	bool high = get.flags & MESSAGE_ONLY_HIGH || model_count[MESSAGE_HIGH];
	enum message_band band = high ? MESSAGE_HIGH : MESSAGE_NORMAL;
	struct expected *e = &model[band][0];
	uint32_t control_n, data_n;
	unsigned more;

	if (!model_count[band]) {
		assert_int_equal(message_get(&q, &get), -EAGAIN);
		return 0;
	}
	control_n = get.control ? (uint32_t)MIN(control_room, e->control_bytes - e->control_at) : 0;
	data_n = get.data ? (uint32_t)MIN(data_room, e->bytes - e->at) : 0;
	more = (e->control_at + control_n < e->control_bytes ? MORE_CONTROL : 0) |
	       (e->at + data_n < e->bytes ? MORE_DATA : 0);
	assert_int_equal(message_get(&q, &get), 0);
	assert_int_equal(get.band, band);
	assert_int_equal(get.more, more);
	assert_int_equal(get.whole, e->bytes);
	assert_int_equal(get.control_bytes, control_n);
	assert_int_equal(get.data_bytes, data_n);
	assert_memory_equal(control, e->control + e->control_at, control_n);
	assert_memory_equal(data, e->data + e->at, data_n);
	if (get.flags & MESSAGE_PEEK)
		return control_n + data_n;
	e->control_at += control_n;
	e->at += data_n;
	if (!more || get.flags & MESSAGE_DISCARD)
		memmove(e, e + 1, --model_count[band] * sizeof(*e));
	return control_n + data_n;
}

static void random_puts_and_gets_are_as_the_model_says(void **state)
{
	uint64_t moved = 0, before = copy_bytes(COPY_STREAM_HEAD);

	model_count[0] = model_count[1] = 0;
	for (unsigned n = 0; n < 20000; n++) {
		if (shim_random_below(2))
			put_random();
		else
			moved += get_random();
	}
	assert_int_equal(copy_bytes(COPY_STREAM_HEAD) - before, moved); // each byte once
	message_flush(&q);
	assert_int_equal(notes.used, 0);
}

static void a_module_passes_messages_on_and_nothing_is_copied(void **state)
{
	struct message_queue next;
	uint64_t before = copy_bytes(COPY_STREAM_HEAD);
	struct note *n = make_one(500, MESSAGE_NORMAL), *urgent = make_one(3, MESSAGE_HIGH);
	const uint8_t *data = n->pieces[0];
	struct message *m;
	uint32_t bytes;

	message_queue_init(&next, NULL, 4000, NULL);
	put(&q, n);
	put(&q, urgent);
	assert_ptr_equal(message_take(&q), &urgent->message);
	m = message_take(&q);
	assert_ptr_equal(m, &n->message);
	put(&next, n);
	put(&next, urgent);
	assert_null(message_take(&q));
	assert_ptr_equal(message_take(&next), &urgent->message);
	assert_ptr_equal(message_take(&next), m);
	assert_ptr_equal(m->kind->piece(m, 7, &bytes), data + 7);
	assert_int_equal(bytes, 493);
	assert_int_equal(copy_bytes(COPY_STREAM_HEAD), before);
	message_free(m);
	message_free(&urgent->message);
}

static void at_the_high_mark_a_put_is_refused_and_the_low_mark_tells(void **state)
{
	unsigned count = 0;
	struct message *m;

	while (may_put(&q, MESSAGE_NORMAL, 600)) { // 500 bytes and 100 around them
		put(&q, make_one(500, MESSAGE_NORMAL));
		count++;
	}
	assert_int_equal(count, 6); // 3600 of 4000
	assert_false(message_room(&q, MESSAGE_NORMAL));
	for (unsigned n = 0; n < 3; n++) { // down to 1800, at most 2000
		assert_int_equal(enabled, 0);
		m = message_take(&q);
		message_free(m);
	}
	assert_int_equal(enabled, 1);
	assert_true(message_room(&q, MESSAGE_NORMAL));
	assert_false(
	    may_put(&q, MESSAGE_NORMAL, 3000)); // too large for now, though room is said to be
	assert_false(message_room(&q, MESSAGE_NORMAL)); // so nobody spins
	message_free(message_take(&q));
	assert_int_equal(enabled, 2);
	message_flush(&q);
	assert_true(may_put(&q, MESSAGE_NORMAL, 100000)); // an empty band takes anything
}

static void a_full_band_does_not_keep_the_other_out(void **state)
{
	while (may_put(&q, MESSAGE_NORMAL, 1100))
		put(&q, make_one(1000, MESSAGE_NORMAL));
	assert_true(may_put(&q, MESSAGE_HIGH, 200));
	assert_true(message_room(&q, MESSAGE_HIGH));
	put(&q, make_one(100, MESSAGE_HIGH));
	assert_int_equal(message_events(&q), STREAM_IN | STREAM_PRI);
	assert_int_equal(message_first(&q)->bytes, 100);
	message_free(message_take(&q));
	assert_int_equal(message_events(&q), STREAM_IN);
}

static void after_a_fault_everything_is_as_it_was(void **state)
{
	static uint8_t control[8], data[64];
	struct stream_part parts[2];
	struct stream_io control_io, data_io;
	struct message_get get = {.control = &control_io, .data = &data_io};

	put(&q, make_one(64, MESSAGE_NORMAL));
	for (unsigned n = 0; n < 2; n++) {
		control_io = io_of(&parts[0], control, 2);
		data_io = io_of(&parts[1], data, 40);
		bad_address = n ? (uintptr_t)control : (uintptr_t)data + 20;
		assert_int_equal(message_get(&q, &get), -EFAULT);
		assert_int_equal(control_io.left, 2);
		assert_int_equal(data_io.left, 40);
	}
	bad_address = 0;
	assert_int_equal(message_get(&q, &get), 0);
	assert_int_equal(get.control_bytes, 2);
	assert_int_equal(get.data_bytes, 40);
	assert_int_equal(get.more, MORE_CONTROL | MORE_DATA);
	assert_int_equal(freed, 0);
}

static void a_datagram_that_meets_a_fault_is_lost_unless_it_was_only_looked_at(void **state)
{
	static uint8_t data[64];
	struct stream_part part;
	struct stream_io io;
	struct message_get get = {.data = &io, .flags = MESSAGE_DISCARD | MESSAGE_PEEK};

	put(&q, make_one(64, MESSAGE_NORMAL));
	put(&q, make_one(60, MESSAGE_NORMAL));
	bad_address = (uintptr_t)data + 20;
	io = io_of(&part, data, 64);
	assert_int_equal(message_get(&q, &get), -EFAULT);
	assert_int_equal(freed, 0);
	get.flags = MESSAGE_DISCARD;
	assert_int_equal(message_get(&q, &get), -EFAULT);
	assert_int_equal(io.left, 64);
	assert_int_equal(freed, 1);
	bad_address = 0;
	assert_int_equal(message_get(&q, &get), 0);
	assert_int_equal(get.data_bytes, 60);
	assert_int_equal(freed, 2);
}

static void data_in_a_page_that_is_not_mapped_is_read_through_its_window(void **state)
{
	static uint8_t data[PIECE_MOST];
	struct note *n = make_one(PIECE_MOST, MESSAGE_NORMAL);
	struct page *page = page_of_phys(virt_to_phys(n->pieces[0]));
	uint8_t wanted[PIECE_MOST];
	struct stream_part part;
	struct stream_io io = io_of(&part, data, sizeof(data));
	struct message_get get = {.data = &io, .flags = MESSAGE_DISCARD};
	uint64_t before = copy_bytes(COPY_STREAM_HEAD);

	memcpy(wanted, n->pieces[0], sizeof(wanted));
	shim_set_unmapped(true);
	vmm_hide(page);
	put(&q, n);
	io.left = sizeof(data);
	get.flags |= MESSAGE_PEEK;
	assert_int_equal(message_get(&q, &get), 0);
	vmm_show(page);
	shim_set_unmapped(false);
	assert_memory_equal(data, wanted, sizeof(data));
	assert_int_equal(copy_bytes(COPY_STREAM_HEAD) - before, sizeof(data));
}

static struct wtd later;
static void put_later(struct wtd *work)
{
	message_put(&q, &make_one(9, MESSAGE_HIGH)->message);
}

static void who_waits_is_woken_and_who_may_not_wait_is_told(void **state)
{
	struct message_get get = {.flags = MESSAGE_DISCARD};

	assert_int_equal(message_get(&q, &get), -EAGAIN);
	assert_int_equal(stream_wait(&stream, STREAM_PRI, 1000), -EAGAIN);
	later = (struct wtd)WTD_INIT(put_later, "later");
	wtd_post_fast(&later);
	assert_int_equal(stream_wait(&stream, STREAM_PRI, UINT64_MAX), 0);
	assert_int_equal(message_get(&q, &get), 0);
	assert_int_equal(get.whole, 9);
	assert_int_equal(freed, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(random_puts_and_gets_are_as_the_model_says),
	    TEST(a_module_passes_messages_on_and_nothing_is_copied),
	    TEST(at_the_high_mark_a_put_is_refused_and_the_low_mark_tells),
	    TEST(a_full_band_does_not_keep_the_other_out),
	    TEST(after_a_fault_everything_is_as_it_was),
	    TEST(a_datagram_that_meets_a_fault_is_lost_unless_it_was_only_looked_at),
	    TEST(data_in_a_page_that_is_not_mapped_is_read_through_its_window),
	    TEST(who_waits_is_woken_and_who_may_not_wait_is_told),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
