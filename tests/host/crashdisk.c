// SPDX-License-Identifier: BSD-2-Clause
// See crashdisk.h. `now` is the disk as it reads; `base` what was durable when the recording began.
#include "crashdisk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/panic.h"
#include "kernel/wtd.h"
#include "shim.h"

#define QUEUE_MAX 4096
#define NEVER	  UINT32_MAX

enum kind { ASKED_WRITE, ASKED_FLUSH, OVER, MARK };

struct event {
	enum kind kind;
	uint64_t lba, sectors, mark; // a write's
	uint8_t *data;
	bool fua, failed;
	uint32_t over; // index of its OVER, or NEVER
};
struct queued {
	struct block_request *request;
	uint32_t event; // NEVER: a read, or not written down
	uint8_t *data;	// of a write
	bool fails;
};

struct crashdisk_rules crashdisk_rules;
struct crashdisk_counts crashdisk_counts;
static struct block_device disk = {.name = "crash0"};
static bool registered, recording, unplugged;
static uint8_t *now, *base;
static uint64_t size;
static struct event *events;
static uint32_t event_count, event_room;
static struct queued queue[QUEUE_MAX];
static unsigned queued;
static struct wtd work;
static struct {
	bool armed;
	uint64_t skip, left;
} failures[BLOCK_OPS];

static struct event *note(enum kind kind)
{
	if (event_count == event_room) {
		event_room = event_room ? event_room * 2 : 1024;
		events = realloc(events, event_room * sizeof(*events));
	}
	events[event_count] = (struct event){.kind = kind, .over = NEVER};
	return &events[event_count++];
}

static void forget_events(void)
{
	for (uint32_t i = 0; i < event_count; i++)
		free(events[i].data);
	event_count = 0;
}

// ---- requests ----

static uint64_t bytes_of(const struct block_request *r)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < r->nsegs; i++)
		bytes += r->segs[i].bytes;
	return bytes;
}

static void gather(const struct block_request *r, uint8_t *to)
{
	for (uint32_t i = 0; i < r->nsegs; to += r->segs[i++].bytes)
		shim_dma_read(r->segs[i].addr, to, r->segs[i].bytes);
}

static void scatter(const struct block_request *r, const uint8_t *from)
{
	for (uint32_t i = 0; i < r->nsegs; from += r->segs[i++].bytes)
		shim_dma_write(r->segs[i].addr, from, r->segs[i].bytes);
}

static bool fails(enum block_op op)
{
	if (unplugged)
		return true;
	if (!failures[op].armed)
		return false;
	if (failures[op].skip) {
		failures[op].skip--;
		return false;
	}
	if (!failures[op].left--)
		failures[op].armed = false;
	return true;
}

static void kick(void)
{
	if (work.state != WTD_IDLE)
		return;
	if (crashdisk_rules.delay_max_ns)
		wtd_post_after(&work, WTD_FAST,
			       1 + shim_random_below(crashdisk_rules.delay_max_ns));
	else
		wtd_post_fast(&work);
}

static void check_overlap(const struct block_request *r, uint64_t sectors)
{
	for (unsigned i = 0; i < queued; i++) {
		const struct block_request *o = queue[i].request;
		uint64_t length = bytes_of(o) >> SECTOR_SHIFT;
		if (o->op == BLOCK_WRITE && r->disk_lba < o->disk_lba + length &&
		    o->disk_lba < r->disk_lba + sectors)
			PANIC("sector %lu is being written twice at the same time",
			      (unsigned long)r->disk_lba);
	}
}

static void submit(struct block_device *dev, struct block_request *r)
{
	uint64_t bytes = bytes_of(r), sectors = bytes >> SECTOR_SHIFT;
	struct queued *q = &queue[queued];
	ASSERT(queued < QUEUE_MAX);
	*q = (struct queued){.request = r, .event = NEVER, .fails = fails(r->op)};
	crashdisk_counts.ops[r->op]++;
	crashdisk_counts.sectors[r->op] += sectors;
	crashdisk_counts.fua += r->fua;
	if (r->op == BLOCK_WRITE) {
		check_overlap(r, sectors);
		q->data = malloc(bytes);
		gather(r, q->data);
	}
	if (r->op != BLOCK_READ && recording) {
		q->event = event_count;
		struct event *e = note(r->op == BLOCK_FLUSH ? ASKED_FLUSH : ASKED_WRITE);
		e->fua = r->fua;
		e->failed = q->fails;
		e->lba = r->disk_lba;
		e->sectors = sectors;
		e->data = q->data;
	}
	queued++;
	crashdisk_counts.in_flight_high = MAX(crashdisk_counts.in_flight_high, queued);
	kick();
}

static void end_write(const struct queued *q)
{
	uint64_t bytes = bytes_of(q->request), at = q->request->disk_lba;
	uint8_t *again = malloc(bytes);
	gather(q->request, again);
	if (memcmp(again, q->data, bytes))
		PANIC("memory changed while it was written to sector %lu", (unsigned long)at);
	free(again);
	memcpy(now + (at << SECTOR_SHIFT), q->data, bytes);
}

static void run(struct wtd *w)
{
	unsigned which = crashdisk_rules.delay_max_ns ? (unsigned)shim_random_below(queued) : 0;
	struct queued q = queue[which];
	memmove(&queue[which], &queue[which + 1], (--queued - which) * sizeof(queue[0]));
	if (queued)
		kick();
	bool failed = q.fails || unplugged;
	if (q.event != NEVER && failed)
		events[q.event].failed = true;
	if (!failed && q.request->op == BLOCK_READ)
		scatter(q.request, now + (q.request->disk_lba << SECTOR_SHIFT));
	if (!failed && q.request->op == BLOCK_WRITE)
		end_write(&q);
	if (q.event != NEVER) {
		note(OVER);
		events[q.event].over = event_count - 1;
	} else {
		free(q.data);
	}
	block_complete(q.request, failed ? -EIO : 0);
}

// ---- what a power cut leaves ----

// The last flush that is over by then was asked for as event ...: what was over before is durable.
static uint32_t flushed_before(uint32_t cut)
{
	uint32_t last = 0;
	for (uint32_t i = 0; i < cut; i++)
		if (events[i].kind == ASKED_FLUSH && events[i].over < cut && !events[i].failed)
			last = i;
	return last;
}

static bool durable(const struct event *e, uint32_t cut, uint32_t flushed)
{
	if (e->failed || e->over >= cut)
		return false;
	return e->over < flushed || e->fua;
}

static bool never_torn(uint64_t sector)
{
	const struct crashdisk_rules *r = &crashdisk_rules;
	uint64_t first = r->whole_count ? r->whole_first : 2;
	return sector > first && sector - first < (r->whole_count ? r->whole_count : 2);
}

// Applies a write that is not durable. by[sector]: one more than the last durable write of it.
static void apply_some(uint8_t *to, const uint32_t *by, uint32_t index, enum crash_how how)
{
	const struct event *e = &events[index];
	if (how == CRASH_WHOLE && shim_random_below(2))
		return;
	bool drop = false;
	for (uint64_t s = 0; s < e->sectors; s++) {
		if (how == CRASH_TORN && !never_torn(e->lba + s))
			drop = shim_random_below(2);
		if (by[e->lba + s] > index || drop)
			continue;
		memcpy(to + ((e->lba + s) << SECTOR_SHIFT), e->data + (s << SECTOR_SHIFT), 512);
	}
}

static void shuffle(uint32_t *list, uint32_t count)
{
	for (uint32_t i = count; i > 1; i--) {
		uint32_t j = (uint32_t)shim_random_below(i), swap = list[i - 1];
		list[i - 1] = list[j];
		list[j] = swap;
	}
}

uint8_t *crashdisk_after(uint32_t cut, enum crash_how how)
{
	uint8_t *to = malloc(size);
	uint32_t *by = calloc(size >> SECTOR_SHIFT, sizeof(*by));
	uint32_t *doubtful = malloc((cut + 1) * sizeof(*doubtful));
	uint32_t flushed = flushed_before(cut), count = 0;
	ASSERT(cut <= event_count);
	memcpy(to, base, size);
	for (uint32_t i = 0; i < cut; i++) {
		const struct event *e = &events[i];
		if (e->kind != ASKED_WRITE)
			continue;
		if (!durable(e, cut, flushed)) {
			doubtful[count++] = i;
			continue;
		}
		memcpy(to + (e->lba << SECTOR_SHIFT), e->data, e->sectors << SECTOR_SHIFT);
		for (uint64_t s = 0; s < e->sectors; s++)
			by[e->lba + s] = i + 1;
	}
	if (how == CRASH_TORN)
		shuffle(doubtful, count);
	for (uint32_t i = 0; how != CRASH_NOTHING && i < count; i++)
		apply_some(to, by, doubtful[i], how);
	free(by);
	free(doubtful);
	return to;
}

void crashdisk_power_cut(uint32_t cut, enum crash_how how)
{
	ASSERT(!queued);
	uint8_t *left = crashdisk_after(cut, how);
	memcpy(now, left, size);
	free(left);
	recording = false;
	unplugged = false;
}

void crashdisk_swap(const uint8_t *bytes)
{
	ASSERT(!queued && !recording);
	memcpy(now, bytes, size);
}

void crashdisk_record(void)
{
	ASSERT(!queued);
	forget_events();
	memcpy(base, now, size);
	recording = true;
}

void crashdisk_mark(uint64_t what)
{
	if (recording)
		note(MARK)->mark = what;
}

bool crashdisk_marked(uint32_t cut, uint64_t what)
{
	for (uint32_t i = 0; i < cut; i++)
		if (events[i].kind == MARK && events[i].mark == what)
			return true;
	return false;
}

uint32_t crashdisk_events(void)
{
	return event_count;
}

bool crashdisk_worth_a_cut(uint32_t cut)
{
	return cut && events[cut - 1].kind != MARK;
}

void crashdisk_fail(enum block_op op, uint64_t k, uint64_t more)
{
	failures[op].armed = true;
	failures[op].skip = k;
	failures[op].left = more;
}

void crashdisk_unplug(bool out)
{
	unplugged = out;
}

// ---- begin and end ----

static void begin(void)
{
	ASSERT(!queued);
	crashdisk_rules = (struct crashdisk_rules){0};
	crashdisk_counts = (struct crashdisk_counts){0};
	memset(failures, 0, sizeof(failures));
	unplugged = false;
	wtd_init(&work, run, "crash disk");
	disk.sectors = size >> SECTOR_SHIFT;
	if (!registered)
		block_register(&disk);
	registered = true;
	crashdisk_record();
}

struct block_device *crashdisk_device(void)
{
	const struct crashdisk_rules *r = &crashdisk_rules;
	disk.submit = submit;
	disk.max_segs = r->max_segs ? r->max_segs : 128;
	disk.max_sectors = r->max_sectors ? r->max_sectors : 1024;
	disk.sector_bytes = r->sector_bytes ? r->sector_bytes : 512;
	return &disk;
}

void crashdisk_free(void)
{
	forget_events();
	free(events);
	free(now);
	free(base);
	events = NULL;
	now = base = NULL;
	event_room = 0;
}

static void make(uint64_t bytes)
{
	crashdisk_free();
	size = bytes;
	now = malloc(size);
	base = malloc(size);
}

void crashdisk_load_bytes(const void *bytes, uint64_t length)
{
	make(length);
	memcpy(now, bytes, size);
	begin();
}

void crashdisk_load(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f || fseek(f, 0, SEEK_END))
		PANIC("%s cannot be opened", path);
	make((uint64_t)ftell(f));
	rewind(f);
	if (fread(now, 1, size, f) != size)
		PANIC("%s cannot be read", path);
	fclose(f);
	begin();
}

void crashdisk_save(const char *path)
{
	FILE *f = fopen(path, "wb");
	if (!f || fwrite(now, 1, size, f) != size || fclose(f))
		PANIC("%s cannot be written", path);
}

const uint8_t *crashdisk_bytes(void)
{
	return now;
}

uint64_t crashdisk_size(void)
{
	return size;
}
