// SPDX-License-Identifier: BSD-2-Clause
// See fake_e1000.h. Offsets and bits are spelled out here, so that an error in the driver's header
// is not repeated. Its client is fake_e1000_client.c.
#include <stdlib.h>
#include <string.h>

#include "fake_e1000.h"
#include "kernel/io.h"
#include "kernel/panic.h"
#include "kernel/pci.h"
#include "kernel/vmm.h"
#include "shim.h"

enum {
	CTRL = 0x0,
	STATUS = 0x8,
	ICR = 0xc0,
	IMS = 0xd0,
	IMC = 0xd8,
	RCTL = 0x100,
	TCTL = 0x400,
	RDBAL = 0x2800,
	RDLEN = 0x2808,
	RDH = 0x2810,
	RDT = 0x2818,
	TDBAL = 0x3800,
	TDLEN = 0x3808,
	TDH = 0x3810,
	TDT = 0x3818,
	MPC = 0x4010,
	RAL = 0x5400,
};
enum { LSC = 4, TXDW = 1, TXQE = 2, RXT0 = 0x80 };

struct context {
	unsigned ipcss, ipcso, ipcse, tucss, tucso, tucse, paylen, hdrlen, mss;
	bool tcp, ip, set;
};

static uint32_t regs[0x20000 / 4];
static struct pci_device pci;
static irq_handler handler;
static void *handler_arg;
static bool in_handler, delayed, no_writeback, hung, no_link, executing, finishing;
static struct context plain, tso;
static struct fake_frame sent[4096];
static unsigned sent_count, reads, writes[0x20000 / 4], contexts, descriptors;
static void (*on_sent)(const struct fake_frame *frame);
static void (*on_write)(uint32_t reg, uint32_t value);
static void (*on_icr)(bool was_read);
static struct {
	struct fake_frame frame;
	uint8_t errors;
	unsigned parts, done;
} waiting[4096];
static unsigned waiting_from, waiting_to;

#define R(reg) regs[(reg) / 4]

static void interrupt(void)
{
	if (!(R(ICR) & R(IMS)) || !handler || in_handler)
		return;
	in_handler = true;
	handler(handler_arg);
	in_handler = false;
}

static void cause(uint32_t bits)
{
	R(ICR) |= bits;
	interrupt();
}

static uint64_t ring_base(uint32_t low)
{
	return (uint64_t)R(low + 4) << 32 | R(low);
}

// ---- transmit, sections 3.3.5 to 3.5 ----

static uint16_t sum16(const uint8_t *data, size_t from, size_t to)
{
	uint64_t sum = 0;
	for (size_t n = from; n < to; n++)
		sum += (n - from) % 2 ? data[n] : data[n] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static unsigned get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static void set16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void insert_sum(uint8_t *data, unsigned bytes, unsigned start, unsigned at, unsigned last)
{
	unsigned end = last && last < bytes ? last + 1 : bytes;
	ASSERT(at + 2 <= bytes);
	uint16_t sum = ~sum16(data, start, end);
	set16(data + at, sum ? sum : 0xffff);
}

static void emit(const uint8_t *data, unsigned bytes, const struct context *context, unsigned popts)
{
	ASSERT(sent_count < ARRAY_SIZE(sent));
	ASSERT(bytes >= 14 && bytes <= FAKE_FRAME_MAX);
	struct fake_frame *frame = &sent[sent_count++];
	memcpy(frame->data, data, bytes);
	frame->bytes = bytes;
	if (popts)
		ASSERT(context->set);
	if (popts & 2)
		insert_sum(frame->data, bytes, context->tucss, context->tucso, context->tucse);
	if (popts & 1)
		insert_sum(frame->data, bytes, context->ipcss, context->ipcso, context->ipcse);
	if (on_sent)
		on_sent(frame);
}

// Section 3.5.9: what changes from segment to segment.
static void emit_segments(const uint8_t *data, unsigned bytes, unsigned popts)
{
	static uint8_t segment[FAKE_FRAME_MAX];
	ASSERT(tso.set && tso.ip && tso.tcp);
	ASSERT(bytes - tso.hdrlen == tso.paylen);
	unsigned done = 0;
	for (unsigned n = 0; done < tso.paylen; n++) {
		unsigned part = MIN(tso.mss, tso.paylen - done), size = tso.hdrlen + part;
		memcpy(segment, data, tso.hdrlen);
		memcpy(segment + tso.hdrlen, data + tso.hdrlen + done, part);
		uint8_t *ip = segment + tso.ipcss, *tcp = segment + tso.tucss;
		ASSERT(!get16(ip + 2));
		set16(ip + 2, size - tso.ipcss);
		set16(ip + 4, get16(ip + 4) + n);
		uint32_t sequence = (uint32_t)(get16(tcp + 4) << 16 | get16(tcp + 6)) + done;
		set16(tcp + 4, sequence >> 16);
		set16(tcp + 6, sequence & 0xffff);
		done += part;
		if (done < tso.paylen)
			tcp[13] &= (uint8_t)~9;
		unsigned seed = get16(segment + tso.tucso) + size - tso.tucss;
		set16(segment + tso.tucso, (seed & 0xffff) + (seed >> 16));
		emit(segment, size, &tso, popts);
	}
}

static void load_context(const uint8_t *d)
{
	bool segment = d[11] & 4;
	struct context *context = segment ? &tso : &plain;
	contexts++;
	*context = (struct context){.ipcss = d[0],
				    .ipcso = d[1],
				    .ipcse = d[2] | d[3] << 8,
				    .tucss = d[4],
				    .tucso = d[5],
				    .tucse = d[6] | d[7] << 8,
				    .paylen = (d[8] | d[9] << 8 | d[10] << 16) & 0xfffff,
				    .tcp = d[11] & 1,
				    .ip = d[11] & 2,
				    .hdrlen = d[13],
				    .mss = d[14] | d[15] << 8,
				    .set = true};
	ASSERT(d[11] & 0x20);
	ASSERT(!(d[11] & 0x80));
}

// One packet. False: nothing (more) to send.
static bool execute_packet(void)
{
	static uint8_t data[0x20000];
	unsigned bytes = 0, popts = 0, size = R(TDLEN) / 16, first = 1;
	bool segment = false;
	if (R(TDH) == R(TDT) || (!finishing && (hung || no_link || !(R(TCTL) & 2))))
		return false;
	for (;;) {
		uint8_t d[16];
		uint64_t at = ring_base(TDBAL) + 16 * R(TDH);
		ASSERT(R(TDH) != R(TDT)); // a packet is rung in whole
		shim_dma_read(at, d, 16);
		R(TDH) = (R(TDH) + 1) % size;
		descriptors++;
		if (!(d[10] & 0x10)) { // DTYP 0
			ASSERT(first);
			load_context(d);
			continue;
		}
		unsigned command = d[11], part = (d[8] | d[9] << 8 | d[10] << 16) & 0xfffff;
		ASSERT(command & 0x20 && command & 2 && !(command & 0x80)); // DEXT, IFCS, no IDE
		ASSERT(part && part <= 16288 && !(d[12] & 1));
		ASSERT(bytes + part <= sizeof(data));
		ASSERT(first || (popts == d[13] && segment == !!(command & 4)));
		popts = d[13];
		segment = command & 4;
		first = 0;
		uint64_t addr;
		memcpy(&addr, d, 8);
		shim_dma_read(addr, data + bytes, part);
		bytes += part;
		if (command & 8 && !no_writeback) {
			d[12] |= 1;
			shim_dma_write(at + 12, d + 12, 1);
		}
		if (!(command & 1))
			continue;
		ASSERT(command & 8 || R(TDH) != R(TDT)); // nobody would ever hear of the last ones
		break;
	}
	if (segment)
		emit_segments(data, bytes, popts);
	else
		emit(data, bytes, &plain, popts);
	return true;
}

unsigned fake_transmit(int packets)
{
	unsigned done = 0;
	if (executing) // an answer within the doorbell
		return 0;
	executing = true;
	while (packets < 0 || done < (unsigned)packets) {
		if (!execute_packet())
			break;
		done++;
	}
	executing = false;
	if (done)
		R(ICR) |= TXDW | (R(TDH) == R(TDT) ? TXQE : 0);
	interrupt();
	return done;
}

// ---- receive, section 3.2 ----

static void write_descriptor(const uint8_t *data, unsigned bytes, uint8_t status, uint8_t errors)
{
	uint8_t d[16];
	uint64_t at = ring_base(RDBAL) + 16 * R(RDH), addr;
	shim_dma_read(at, d, 16);
	memcpy(&addr, d, 8);
	ASSERT(addr && !d[12]);
	ASSERT(bytes <= 2048);
	shim_dma_write(addr, data, bytes);
	d[8] = (uint8_t)bytes;
	d[9] = (uint8_t)(bytes >> 8);
	d[12] = status;
	d[13] = errors;
	shim_dma_write(at, d, 16);
	R(RDH) = (R(RDH) + 1) % (R(RDLEN) / 16);
}

static void deliver_waiting(void)
{
	bool any = false;
	while (waiting_from != waiting_to && R(RCTL) & 2) {
		unsigned n = waiting_from % ARRAY_SIZE(waiting);
		const uint8_t *data = waiting[n].frame.data + waiting[n].done * 2048;
		unsigned at = waiting[n].done * 2048, all = waiting[n].frame.bytes;
		unsigned left = all > at ? all - at : 0;
		bool end = waiting[n].done + 1 == waiting[n].parts;
		if (R(RDT) == R(RDH)) // in the middle of a frame, too: the rest waits in the card
			break;
		write_descriptor(data, MIN(left, 2048U), (uint8_t)(1 | (end ? 6 : 0)),
				 end ? waiting[n].errors : 0);
		waiting[n].done++;
		waiting_from += end;
		any = true;
	}
	if (any)
		cause(RXT0);
}

void fake_receive_odd(const void *data, uint32_t bytes, uint8_t errors, unsigned parts)
{
	unsigned n = waiting_to++ % ARRAY_SIZE(waiting);
	ASSERT(waiting_to - waiting_from <= ARRAY_SIZE(waiting));
	memcpy(waiting[n].frame.data, data, bytes);
	waiting[n].frame.bytes = bytes;
	waiting[n].errors = errors;
	waiting[n].parts = parts ? parts : MAX((bytes + 2047) / 2048, 1U);
	waiting[n].done = 0;
	deliver_waiting();
}

void fake_receive(const void *data, uint32_t bytes)
{
	fake_receive_odd(data, bytes, 0, 0);
}

unsigned fake_waiting(void)
{
	return waiting_to - waiting_from;
}

// ---- registers ----

uint32_t mmio_read32(const volatile void *addr)
{
	uint32_t reg = (uint32_t)((const volatile uint8_t *)addr - (volatile uint8_t *)regs);
	ASSERT(reg < sizeof(regs) && reg % 4 == 0);
	if (reg == ICR && on_icr)
		on_icr(false);
	uint32_t value = R(reg);
	ASSERT(reg != TDH && reg != RDH);
	reads++;
	if (reg == ICR || (reg >= 0x4000 && reg < 0x4100))
		R(reg) = 0;
	if (reg == ICR && on_icr)
		on_icr(true);
	return value;
}

static void check_ring_write(uint32_t reg, uint32_t value)
{
	if (reg == TDH || reg == TDLEN || reg == TDBAL)
		ASSERT(!(R(TCTL) & 2));
	if (reg == RDH || reg == RDLEN || reg == RDBAL)
		ASSERT(!(R(RCTL) & 2));
	if (reg == TDLEN || reg == RDLEN)
		ASSERT(value % 128 == 0);
	if (reg == TDBAL || reg == RDBAL)
		ASSERT(value % 16 == 0);
	if (reg == TDT || reg == RDT)
		ASSERT(value * 16 <= R(reg - 0x10));
}

void mmio_write32(volatile void *addr, uint32_t value)
{
	uint32_t reg = (uint32_t)((volatile uint8_t *)addr - (volatile uint8_t *)regs);
	ASSERT(reg < sizeof(regs) && reg % 4 == 0);
	check_ring_write(reg, value);
	if (on_write)
		on_write(reg, value);
	writes[reg / 4]++;
	if (reg == IMS) {
		R(IMS) |= value;
		interrupt();
		return;
	}
	if (reg == IMC) {
		R(IMS) &= ~value;
		return;
	}
	R(reg) = value;
	if (reg == CTRL)
		R(CTRL) &= ~(1U << 26);
	if (reg == TDT && !delayed)
		fake_transmit(-1);
	if (reg == RDT)
		deliver_waiting();
}

// ---- the machine around it ----

void *vmm_map_io(paddr_t addr, size_t len)
{
	ASSERT(addr == 0xfeb80000 && len == sizeof(regs));
	return regs;
}
void vmm_unmap(void *p, size_t len) {}
void pmm_set_junk(bool on) {}
void pool_set_junk(bool on) {}
void pci_enable(const struct pci_device *dev) {}
int pci_irq_attach(struct pci_device *dev, irq_handler fn, void *arg, const char *name)
{
	handler = fn;
	handler_arg = arg;
	return 0;
}

void fake_plug(uint16_t device)
{
	extern const struct pci_driver __start_pci_drivers[], __stop_pci_drivers[];
	pci = (struct pci_device){.vendor = 0x8086, .device = device};
	pci.bar[0].addr = 0xfeb80000;
	pci.bar[0].bytes = sizeof(regs);
	R(STATUS) = 0x80080783;
	R(RAL) = 0x12005452;
	R(RAL + 4) = 0x80005634;
	for (uint32_t reg = RDBAL; reg < RDBAL + 0x30; reg += 4)
		R(reg) = 0; // after a reset the rings may hold anything else
	for (const struct pci_driver *row = __start_pci_drivers; row < __stop_pci_drivers; row++)
		if (row->vendor == 0x8086 && row->device == device)
			ASSERT(!row->probe(&pci));
	ASSERT(netdev_first());
}

struct netdev *fake_netdev(void)
{
	return netdev_first();
}

void fake_reset(void)
{
	delayed = no_writeback = hung = no_link = false;
	waiting_from = waiting_to = 0;
	fake_forget_counts();
	on_sent = NULL;
	on_write = NULL;
	on_icr = NULL;
	R(STATUS) |= 2;
	plain.set = tso.set = false;
}

void fake_set_delayed(bool on)
{
	delayed = on;
}
void fake_set_writeback(bool on)
{
	no_writeback = !on;
}
void fake_set_hung(bool on)
{
	hung = on;
}
void fake_set_link(bool up)
{
	no_link = !up;
	R(STATUS) = (R(STATUS) & ~2U) | (up ? 2 : 0);
	cause(LSC);
}
void fake_finish_all(void)
{
	finishing = true;
	fake_transmit(-1);
	finishing = false;
}
void fake_forget_counts(void)
{
	sent_count = reads = contexts = descriptors = 0;
	memset(writes, 0, sizeof(writes));
}
unsigned fake_sent(void)
{
	return sent_count;
}
const struct fake_frame *fake_frame(unsigned n)
{
	ASSERT(n < sent_count);
	return &sent[n];
}
void fake_on_sent(void (*fn)(const struct fake_frame *frame))
{
	on_sent = fn;
}
void fake_on_write(void (*fn)(uint32_t reg, uint32_t value))
{
	on_write = fn;
}
void fake_on_icr(void (*fn)(bool was_read))
{
	on_icr = fn;
}
uint32_t fake_register(uint32_t reg)
{
	return R(reg);
}
unsigned fake_reads(void)
{
	return reads;
}
unsigned fake_writes(uint32_t reg)
{
	return writes[reg / 4];
}
unsigned fake_contexts(void)
{
	return contexts;
}
unsigned fake_descriptors(void)
{
	return descriptors;
}
bool fake_interrupt_elsewhere(void)
{
	return handler(handler_arg);
}
void fake_missed(uint32_t frames)
{
	R(MPC) += frames;
}
