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
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/serial.h"
#include "kernel/timer.h"
#include "server/http.h"
#include "server/http_conn.h"
#include "shim.h"

struct world_knobs world;
struct world_file world_files[WORLD_FILES_MAX];
unsigned world_file_count;
struct volume world_volume = {.name = "SYS", .id = 1, .block_bytes = PAGE_SIZE};
static void (*forget)(struct inode *inode);
char world_log[1 << 20];
static size_t log_len;
bool world_log_full;
unsigned world_pages_wired;
static uint64_t started;

bool world_chance(unsigned percent)
{
	return shim_random_below(100) < percent;
}

uint8_t world_byte(uint64_t number, uint64_t offset)
{
	uint64_t x = (number * 1000003 + offset) * 0x9e3779b97f4a7c15UL;
	return (uint8_t)(x >> 56);
}

struct inode *world_add(const char *path, uint64_t number, uint64_t size, enum inode_type type)
{
	struct world_file *f = world_files;

	while (f->inode.number) // a slot whose file has vanished, or a new one
		f++;
	ASSERT(f < world_files + WORLD_FILES_MAX && size <= WORLD_PAGES_MAX * PAGE_SIZE);
	world_file_count = MAX(world_file_count, (unsigned)(f - world_files) + 1);
	memset(f, 0, sizeof(*f));
	strcpy(f->path, path);
	f->inode = (struct inode){.volume = &world_volume,
				  .number = number,
				  .generation = 7,
				  .type = type,
				  .size = size,
				  .links = 1,
				  .mtime_sec = 784111777,
				  .mtime_nsec = 5};
	return &f->inode;
}

struct inode *world_file(const char *path, uint64_t number, uint64_t size)
{
	return world_add(path, number, size, INODE_FILE);
}

struct inode *world_directory(const char *path, uint64_t number)
{
	return world_add(path, number, 4096, INODE_DIRECTORY);
}

void world_spoil(struct inode *inode, uint64_t index)
{
	world_file_of(inode)->spoiled[index] = true;
}

struct volume *volume_root(void)
{
	return &world_volume;
}

void inode_get(struct inode *inode)
{
	world_file_of(inode)->references++;
}

void inode_put(struct inode *inode)
{
	struct world_file *f = world_file_of(inode);

	ASSERT(f->references > 0);
	if (--f->references == 0 && inode->links == 0)
		world_vanish(f);
}

// Pages whose file is not theirs any more, while somebody had them.
static struct page **old_pages;
static unsigned old_count;

static void give_up_page(struct page **page)
{
	if (*page && (*page)->wire) {
		old_pages = realloc(old_pages, (old_count + 1) * sizeof(*old_pages));
		old_pages[old_count++] = *page;
	} else if (*page) {
		pmm_free(*page, 0);
	}
	*page = NULL;
}

// The last name and the last reference are gone.
void world_vanish(struct world_file *f)
{
	if (f->inode.server_data)
		forget(&f->inode);
	for (unsigned p = 0; p < WORLD_PAGES_MAX; p++)
		give_up_page(&f->pages[p]);
	free(f->data);
	memset(f, 0, sizeof(*f));
}

void world_changed(struct inode *inode)
{
	if (inode->server_data)
		forget(inode);
	inode->mtime_nsec++;
	world_names++;
}

// A page of the file is not what it was: who has it wired keeps it.
void world_replace_page(struct world_file *f, uint64_t index)
{
	give_up_page(&f->pages[index]);
}

void inode_set_forget_hook(void (*fn)(struct inode *inode))
{
	forget = fn;
}

// The path with the symbolic link that it leads through, or (last) to, replaced. False: there is none.
static bool through_link(const char *path, size_t len, bool last, char *out, size_t *out_len)
{
	for (unsigned i = 0; i < world_file_count; i++) {
		const struct world_file *f = &world_files[i];
		size_t n = strlen(f->path), to = strlen(f->target);
		if (f->inode.type != INODE_SYMLINK || !f->inode.links || n > len ||
		    (n == len ? !last : path[n] != '/') || memcmp(path, f->path, n) != 0)
			continue;
		memcpy(out, f->target, to);
		memcpy(out + to, path + n, len - n);
		*out_len = to + len - n;
		return true;
	}
	return false;
}

static int look_up(const char *path, size_t len, bool follow, struct inode **out)
{
	char other[1000];

	if (through_link(path, len, follow, other, &len))
		path = other;
	for (unsigned i = 0; i < world_file_count; i++)
		if (world_files[i].inode.links && strlen(world_files[i].path) == len &&
		    memcmp(world_files[i].path, path, len) == 0) {
			*out = &world_files[i].inode;
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
	return world_chance(world.name_miss) ? -EAGAIN : look_up(path, len, false, out);
}

static void name_work(struct wtd *work)
{
	struct name_request *r = CONTAINER_OF(work, struct name_request, work);
	r->status = look_up(r->path, r->len, false, &r->inode);
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
	return world_chance(50) && wtd_cancel(&r->work);
}

int name_find_wait(struct volume *v, const char *path, size_t len, struct inode **out)
{
	return look_up(path, len, true, out);
}

int inode_open(struct volume *v, uint64_t number, struct inode **out)
{
	for (unsigned i = 0; i < world_file_count; i++)
		if (world_files[i].inode.links && world_files[i].inode.number == number) {
			*out = &world_files[i].inode;
			inode_get(*out);
			return 0;
		}
	return -ENOENT;
}

int inode_read_dir(struct inode *dir, uint64_t *cursor,
		   bool (*visit)(void *ctx, const struct dir_entry *entry), void *ctx)
{
	const char *path = world_file_of(dir)->path;
	size_t len = strlen(path);

	for (unsigned i = (unsigned)*cursor; i < world_file_count; i++) {
		const char *p = world_files[i].path;
		if (!world_files[i].inode.links || strncmp(p, path, len) != 0 ||
		    (len && p[len] != '/'))
			continue;
		const char *name = p + len + (len > 0);
		struct dir_entry entry = {.name = name,
					  .name_len = (uint8_t)strlen(name),
					  .type = world_files[i].inode.type,
					  .number = world_files[i].inode.number};
		*cursor = i + 1;
		if (*name && !strchr(name, '/') && !visit(ctx, &entry))
			return 0;
	}
	*cursor = world_file_count;
	return 0;
}

// ---- pages -------------------------------------------------------------------------------------------

uint8_t world_content(const struct world_file *f, uint64_t offset)
{
	if (!f->data)
		return world_byte(f->inode.number, offset);
	return offset < f->inode.size ? f->data[offset] : 0;
}

static struct page *page_of(struct inode *inode, uint64_t index)
{
	struct world_file *f = world_file_of(inode);

	ASSERT(index < WORLD_PAGES_MAX && index * PAGE_SIZE < inode->size);
	if (!f->pages[index]) {
		uint8_t bytes[PAGE_SIZE];
		f->pages[index] = pmm_alloc(0);
		ASSERT(f->pages[index]);
		for (size_t i = 0; i < PAGE_SIZE; i++)
			bytes[i] = world_content(f, index * PAGE_SIZE + i);
		shim_dma_write(page_phys(f->pages[index]), bytes, PAGE_SIZE);
	}
	page_wire_get(f->pages[index]);
	return f->pages[index];
}

unsigned pagecache_follow(struct inode *inode, struct page *page, uint64_t index, unsigned most)
{
	return 0;
}

struct page *pagecache_probe(struct inode *inode, uint64_t index)
{
	if (world_file_of(inode)->spoiled[index] || world_chance(world.page_miss))
		return NULL;
	return page_of(inode, index);
}

struct page *pagecache_first(struct inode *inode)
{
	return pagecache_probe(inode, 0);
}

static void get_work(struct wtd *work)
{
	struct page_get *get = CONTAINER_OF(work, struct page_get, work);
	bool bad = world_file_of(get->inode)->spoiled[get->index] || world_chance(world.page_error);

	get->status = bad ? -EIO : 0;
	get->page = bad ? NULL : page_of(get->inode, get->index);
	get->done(get);
}

void pagecache_get(struct page_get *get)
{
	wtd_init(&get->work, get_work, "world page");
	wtd_post_fast(&get->work);
}

int pagecache_get_wait(struct inode *inode, uint64_t index, struct page **out)
{
	if (world_file_of(inode)->spoiled[index])
		return -EIO;
	*out = page_of(inode, index);
	return 0;
}

bool pagecache_cancel(struct page_get *get)
{
	return world_chance(50) && wtd_cancel(&get->work);
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
	memset(world_files, 0, sizeof(world_files));
	world_file_count = 0;
	world_write_start();
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
	for (unsigned i = 0; i < world_file_count; i++) {
		struct world_file *f = &world_files[i];
		if (f->references)
			fail_msg("%s has %u references", f->path, f->references);
		world_vanish(f);
	}
	while (old_count) {
		assert_int_equal(old_pages[--old_count]->wire, 0);
		pmm_free(old_pages[old_count], 0);
	}
	free(old_pages);
	old_pages = NULL;
}
