// SPDX-License-Identifier: BSD-2-Clause
// The files' half of the HTTP server's world (http_world.h): names, inodes, pages, the log.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "fs/name.h"
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "http_world_private.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/serial.h"
#include "kernel/timer.h"
#include "server/http.h"
#include "server/http_conn.h"
#include "shim.h"

#define FILES_MAX 64
#define PAGES_MAX 300

struct world_file {
	char path[300];
	struct inode inode;
	unsigned references;
	struct page *pages[PAGES_MAX];
	bool spoiled[PAGES_MAX];
};

struct world_knobs world;
static struct world_file files[FILES_MAX];
static unsigned file_count;
static struct volume volume = {.name = "SYS", .id = 1};
static void (*forget)(struct inode *inode);
char world_log[1 << 20];
static size_t log_len;
bool world_log_full;
unsigned world_pages_wired;
static uint64_t started;

static bool chance(unsigned percent)
{
	return shim_random_below(100) < percent;
}

static struct world_file *file_of(struct inode *inode)
{
	return CONTAINER_OF(inode, struct world_file, inode);
}

uint8_t world_byte(uint64_t number, uint64_t offset)
{
	uint64_t x = (number * 1000003 + offset) * 0x9e3779b97f4a7c15UL;
	return (uint8_t)(x >> 56);
}

static struct inode *add(const char *path, uint64_t number, uint64_t size, enum inode_type type)
{
	struct world_file *f = &files[file_count++];

	assert_true(file_count <= FILES_MAX && size <= PAGES_MAX * PAGE_SIZE);
	memset(f, 0, sizeof(*f));
	strcpy(f->path, path);
	f->inode = (struct inode){.volume = &volume,
				  .number = number,
				  .generation = 7,
				  .type = type,
				  .size = size,
				  .mtime_sec = 784111777,
				  .mtime_nsec = 5};
	return &f->inode;
}

struct inode *world_file(const char *path, uint64_t number, uint64_t size)
{
	return add(path, number, size, INODE_FILE);
}

struct inode *world_directory(const char *path, uint64_t number)
{
	return add(path, number, 4096, INODE_DIRECTORY);
}

void world_spoil(struct inode *inode, uint64_t index)
{
	file_of(inode)->spoiled[index] = true;
}

struct volume *volume_root(void)
{
	return &volume;
}

void inode_get(struct inode *inode)
{
	file_of(inode)->references++;
}

void inode_put(struct inode *inode)
{
	assert_true(file_of(inode)->references > 0);
	file_of(inode)->references--;
}

void inode_set_forget_hook(void (*fn)(struct inode *inode))
{
	forget = fn;
}

static int look_up(const char *path, size_t len, struct inode **out)
{
	for (unsigned i = 0; i < file_count; i++)
		if (strlen(files[i].path) == len && memcmp(files[i].path, path, len) == 0) {
			*out = &files[i].inode;
			inode_get(*out);
			return 0;
		}
	return -ENOENT;
}

uint64_t world_names = 1;

uint64_t name_generation(void)
{
	return world_names;
}

int name_find_cached(struct volume *v, const char *path, size_t len, struct inode **out)
{
	return chance(world.name_miss) ? -EAGAIN : look_up(path, len, out);
}

static void name_work(struct wtd *work)
{
	struct name_request *r = CONTAINER_OF(work, struct name_request, work);
	r->status = look_up(r->path, r->len, &r->inode);
	r->done(r);
}

void name_find(struct name_request *r)
{
	wtd_init(&r->work, name_work, "world name");
	wtd_post_fast(&r->work);
}

// Half of the time the worker is said to be in the middle of it.
bool name_cancel(struct name_request *r)
{
	return chance(50) && wtd_cancel(&r->work);
}

int name_find_wait(struct volume *v, const char *path, size_t len, struct inode **out)
{
	return look_up(path, len, out);
}

int inode_open(struct volume *v, uint64_t number, struct inode **out)
{
	for (unsigned i = 0; i < file_count; i++)
		if (files[i].inode.number == number) {
			*out = &files[i].inode;
			inode_get(*out);
			return 0;
		}
	return -ENOENT;
}

int inode_read_dir(struct inode *dir, uint64_t *cursor,
		   bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx)
{
	const char *path = file_of(dir)->path;
	size_t len = strlen(path);

	for (unsigned i = 0; i < file_count; i++) {
		const char *p = files[i].path;
		if (strncmp(p, path, len) != 0 || (len && p[len] != '/'))
			continue;
		const char *name = p + len + (len > 0);
		struct dir_entry entry = {.name = name,
					  .name_len = (uint8_t)strlen(name),
					  .type = files[i].inode.type,
					  .number = files[i].inode.number};
		if (*name && !strchr(name, '/') && !visit(ctx, &entry))
			break;
	}
	return 0;
}

// ---- pages -------------------------------------------------------------------------------------------

static struct page *page_of(struct inode *inode, uint64_t index)
{
	struct world_file *f = file_of(inode);

	assert_true(index < PAGES_MAX && index * PAGE_SIZE < inode->size);
	if (!f->pages[index]) {
		uint8_t bytes[PAGE_SIZE];
		f->pages[index] = pmm_alloc(0);
		assert_non_null(f->pages[index]);
		for (size_t i = 0; i < PAGE_SIZE; i++)
			bytes[i] = world_byte(inode->number, index * PAGE_SIZE + i);
		shim_dma_write(page_phys(f->pages[index]), bytes, PAGE_SIZE);
	}
	page_wire_get(f->pages[index]);
	return f->pages[index];
}

struct page *pagecache_probe(struct inode *inode, uint64_t index)
{
	if (file_of(inode)->spoiled[index] || chance(world.page_miss))
		return NULL;
	return page_of(inode, index);
}

static void get_work(struct wtd *work)
{
	struct page_get *get = CONTAINER_OF(work, struct page_get, work);
	bool bad = file_of(get->inode)->spoiled[get->index] || chance(world.page_error);

	get->status = bad ? -EIO : 0;
	get->page = bad ? NULL : page_of(get->inode, get->index);
	get->done(get);
}

void pagecache_get(struct page_get *get)
{
	wtd_init(&get->work, get_work, "world page");
	wtd_post_fast(&get->work);
}

bool pagecache_cancel(struct page_get *get)
{
	return chance(50) && wtd_cancel(&get->work);
}

void pagecache_stats(struct pagecache_stats *out)
{
	*out = (struct pagecache_stats){.pages_max = 400};
}

// ---- the log, the statistics -------------------------------------------------------------------------

bool serial_present(enum serial_port port)
{
	return port == SERIAL_2;
}

bool serial_queue(enum serial_port port, const char *text, size_t len)
{
	if (world_log_full || log_len + len >= sizeof(world_log))
		return false;
	memcpy(world_log + log_len, text, len);
	log_len += len;
	world_log[log_len] = 0;
	return true;
}

void kstat_write(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	for (int i = 0; i < 5000; i++)
		emit(ctx, "pagewire_world{n=\"%d\"} 1\n", i);
}

// 21 September 2026, 14:13:20, when the world started.
uint64_t clock_realtime_ns(void)
{
	return 1790000000UL * NS_PER_SEC + clock_ns() - started;
}

void world_start(void)
{
	world = (struct world_knobs){.snd_buf = 65536};
	file_count = 0;
	log_len = 0;
	world_log[0] = 0;
	world_log_full = false;
	started = clock_ns();
	world_directory("", 2);
	http_start();
}

void world_finish(void)
{
	http_conn_end_all();
	world.name_miss = world.page_miss = 0;
	shim_run();
	shim_advance(10 * NS_PER_SEC);
	world_tcp_finish();
	world_rights_finish();
	assert_int_equal(http_conn_count, 0);
	assert_int_equal(world_pages_wired, 0);
	for (unsigned i = 0; i < file_count; i++) {
		struct world_file *f = &files[i];
		if (f->references)
			fail_msg("%s has %u references", f->path, f->references);
		if (f->inode.server_data)
			forget(&f->inode);
		for (unsigned p = 0; p < PAGES_MAX; p++)
			if (f->pages[p]) {
				assert_int_equal(f->pages[p]->wire, 0);
				pmm_free(f->pages[p], 0);
			}
	}
}
