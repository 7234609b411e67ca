// SPDX-License-Identifier: BSD-2-Clause
// A QEMU TCG plugin that counts what a guest does: instructions, bytes loaded and stored by the processor,
// and accesses to devices. Counts do not depend on the load of the machine they are taken on.
//
//	qemu-system-x86_64 -plugin build/libcount.so,socket=/path ...
//
// Each connection to the socket gets one line with the totals so far and is closed:
//	instructions loads load_bytes stores store_bytes device_loads device_stores spans span_sum span_least span_worst
// The difference of two readings round a piece of work is what the work cost.
//
// With entry=LOW:HIGH, handler=ADDRESS, other=ADDRESS, post=ADDRESS and work=ADDRESS (hex) it measures spans of
// instructions: from a block that begins in LOW..HIGH-1 (the entries of interrupts) to work, if handler and then
// post are executed after it and other, which calls handler by itself, is not. span_least and span_worst are those
// since the last reading; with run=ADDRESS the least is that of a span in which run was executed after post: without it
// work was about to begin when the interrupt came, and did not begin because of it. Without post, a span begins where
// handler is executed after an entry, anew each time: the last interrupt before work counts.
//
// With profile=/path as well, each connection also writes there how often each block of code ran since
// the start, a line each: address instructions executions load_bytes (bench/hot adds them up by function).
//
// With from=ADDRESS and until=ADDRESS (hex) the counts begin anew where from is executed, and instructions and the
// profile stay as they were when until is first executed after that (bench/boot).
//
// With memory=off only instructions are counted, which costs hardly any time.
//
// QEMU's plugin interface, version 1 (docs/devel/tcg-plugins.rst); its header is not packaged, so the few
// declarations used are made here.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;
struct qemu_info;
typedef void (*tb_trans_fn)(uint64_t id, struct qemu_plugin_tb *tb);
typedef void (*exec_fn)(unsigned vcpu, void *data);
typedef void (*mem_fn)(unsigned vcpu, uint32_t info, uint64_t vaddr, void *data);
enum { INLINE_ADD_U64 = 0, CB_NO_REGS = 0, MEM_RW = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, tb_trans_fn fn);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *to,
					      uint64_t value);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_fn fn, int flags,
					  void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, mem_fn fn, int flags, int rw,
				      void *data);
unsigned qemu_plugin_mem_size_shift(uint32_t info);
bool qemu_plugin_mem_is_store(uint32_t info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(uint32_t info, uint64_t vaddr);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

struct block {
	uint64_t address, length, executions, load_bytes;
	struct block *next;
};
static struct block *blocks; // pushed by the translating thread, never removed
static const char *profile;
static bool memory = true;
static struct {
	uint64_t low, high, handler, other, post, run, work; // addresses; 0: no spans
	bool ran;
	uint64_t entered, handled, begun, count, sum, least, worst;
} span;
static uint64_t instructions, loads, load_bytes, stores, store_bytes, device_loads, device_stores;
static struct {
	uint64_t from, until; // addresses; 0: all that runs
	uint64_t instructions;
	bool over;
} stretch;

static void on_memory(unsigned vcpu, uint32_t info, uint64_t vaddr, void *data)
{
	(void)vcpu;
	struct block *block = data;
	uint64_t bytes = 1ull << qemu_plugin_mem_size_shift(info);
	bool store = qemu_plugin_mem_is_store(info);
	const struct qemu_plugin_hwaddr *where = qemu_plugin_get_hwaddr(info, vaddr);
	if (where && qemu_plugin_hwaddr_is_io(where)) {
		*(store ? &device_stores : &device_loads) += 1;
	} else if (store) {
		stores++;
		store_bytes += bytes;
	} else {
		loads++;
		load_bytes += bytes;
		if (block)
			block->load_bytes += bytes;
	}
}

static struct block *count_block(struct qemu_plugin_tb *tb, size_t length)
{
	struct block *block = calloc(1, sizeof(*block));
	if (!block)
		return NULL;
	block->address = qemu_plugin_tb_vaddr(tb);
	block->length = length;
	block->next = blocks;
	__atomic_store_n(&blocks, block, __ATOMIC_RELEASE);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &block->executions, 1);
	return block;
}

static void on_entry(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	span.entered = instructions;
	span.handled = 0;
}

static void on_other(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	span.entered = span.handled = 0;
}

static void on_handler(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	span.handled = span.entered;
	if (span.handled && !span.post) {
		span.begun = span.handled;
		span.ran = !span.run;
	}
}

// Without it the interrupt was somebody else's, or the card's before last.
static void on_post(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	if (span.handled && !span.begun) {
		span.begun = span.handled;
		span.ran = !span.run;
	}
	span.handled = 0;
}

static void on_run(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	span.ran = true;
}

static void on_work(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	if (!span.begun)
		return;
	uint64_t length = instructions - span.begun;
	span.begun = 0;
	span.count++;
	span.sum += length;
	if (span.ran && (!span.least || length < span.least))
		span.least = length;
	if (length > span.worst)
		span.worst = length;
}

static void measure_spans(struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb);
	exec_fn fn = address == span.handler			  ? on_handler
		     : address == span.work			  ? on_work
		     : address == span.other			  ? on_other
		     : address == span.post			  ? on_post
		     : address == span.run			  ? on_run
		     : address >= span.low && address < span.high ? on_entry
								  : NULL;
	if (fn)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, fn, CB_NO_REGS, NULL);
}

static void write_profile(void);

static void on_from(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	instructions = loads = load_bytes = stores = store_bytes = device_loads = device_stores = 0;
	for (struct block *b = blocks; b; b = b->next)
		b->executions = b->load_bytes = 0;
}

static void on_until(unsigned vcpu, void *data)
{
	(void)vcpu, (void)data;
	if (stretch.over)
		return;
	stretch.instructions = instructions;
	if (profile)
		write_profile();
	__atomic_store_n(&stretch.over, true, __ATOMIC_RELEASE);
}

static void mark_stretch(struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_tb_vaddr(tb);

	if (address == stretch.from || address == stretch.until)
		qemu_plugin_register_vcpu_tb_exec_cb(
		    tb, address == stretch.from ? on_from : on_until, CB_NO_REGS, NULL);
}

static void write_profile(void)
{
	FILE *out = fopen(profile, "w");
	if (!out)
		return;
	for (struct block *b = __atomic_load_n(&blocks, __ATOMIC_ACQUIRE); b; b = b->next)
		if (b->executions)
			fprintf(out, "%lx %lu %lu %lu\n", b->address, b->length, b->executions,
				b->load_bytes);
	fclose(out);
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	size_t count = qemu_plugin_tb_n_insns(tb);
	if (stretch.until)
		mark_stretch(tb); // before its block counts for anything
	struct block *block = profile ? count_block(tb, count) : NULL;
	if (span.work)
		measure_spans(tb); // before the block's own instructions are added
	qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &instructions, count);
	for (size_t i = 0; memory && i < count; i++)
		qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_memory,
						 CB_NO_REGS, MEM_RW, block);
}

static void *serve(void *arg)
{
	int listener = (int)(intptr_t)arg;
	for (;;) {
		int peer = accept(listener, NULL, NULL);
		if (peer < 0)
			return NULL;
		bool over = __atomic_load_n(&stretch.over, __ATOMIC_ACQUIRE);
		if (profile && !over)
			write_profile();
		dprintf(peer, "%lu %lu %lu %lu %lu %lu %lu %lu %lu %lu %lu\n",
			over ? stretch.instructions : instructions, loads, load_bytes, stores,
			store_bytes, device_loads, device_stores, span.count, span.sum, span.least,
			span.worst);
		span.least = span.worst = 0;
		close(peer);
	}
}

__attribute__((visibility("default"))) int
qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "socket=", 7))
			snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[i] + 7);
		if (!strncmp(argv[i], "profile=", 8))
			profile = strdup(argv[i] + 8);
		if (!strcmp(argv[i], "memory=off"))
			memory = false;
		if (!strncmp(argv[i], "from=", 5))
			stretch.from = strtoul(argv[i] + 5, NULL, 16);
		if (!strncmp(argv[i], "until=", 6))
			stretch.until = strtoul(argv[i] + 6, NULL, 16);
		if (!strncmp(argv[i], "entry=", 6))
			sscanf(argv[i] + 6, "%lx:%lx", &span.low, &span.high);
		if (!strncmp(argv[i], "handler=", 8))
			span.handler = strtoul(argv[i] + 8, NULL, 16);
		if (!strncmp(argv[i], "other=", 6))
			span.other = strtoul(argv[i] + 6, NULL, 16);
		if (!strncmp(argv[i], "post=", 5))
			span.post = strtoul(argv[i] + 5, NULL, 16);
		if (!strncmp(argv[i], "run=", 4))
			span.run = strtoul(argv[i] + 4, NULL, 16);
		if (!strncmp(argv[i], "work=", 5))
			span.work = strtoul(argv[i] + 5, NULL, 16);
	}
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t thread;
	if (!address.sun_path[0] || listener < 0 ||
	    bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 8) ||
	    pthread_create(&thread, NULL, serve, (void *)(intptr_t)listener)) {
		fprintf(stderr, "count: no socket: use -plugin libcount.so,socket=/path\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
