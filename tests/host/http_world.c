// SPDX-License-Identifier: BSD-2-Clause
// TCP's half of the HTTP server's world (http_world.h): connections that the test plays by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_world_private.h"
#include "kernel/kstring.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "shim.h"

struct tcp_segment {
	struct tcp_segment *next;
	struct page *page; // null: generated
	u32_t len;
};

static struct tcp_pcb *pcbs, *listening;
unsigned world_buffers;
static unsigned writes, fail_from = ~0u;

char *ipaddr_ntoa_r(const ip_addr_t *ip, char *buf, int len)
{
	snprintf(buf, (size_t)len, ip->v6 ? "2001:db8::%x" : "10.0.0.%u",
		 ip->v6 ? ip->u.ip6.addr[1] : ip->u.ip4 >> 24);
	return buf;
}

u8_t pbuf_free(struct pbuf *p)
{
	while (p) {
		struct pbuf *next = p->next;
		assert_true(p->ref > 0);
		if (--p->ref)
			break;
		free(p->memory);
		free(p);
		world_buffers--;
		p = next;
	}
	return 1;
}

void pbuf_ref(struct pbuf *p)
{
	p->ref++;
}

u8_t pbuf_remove_header(struct pbuf *p, size_t bytes)
{
	assert_true(bytes <= p->len);
	p->payload = (char *)p->payload + bytes;
	p->len -= (u16_t)bytes;
	p->tot_len -= (u16_t)bytes;
	return 0;
}

struct tcp_pcb *tcp_new_ip_type(u8_t type)
{
	struct tcp_pcb *pcb = calloc(1, sizeof(*pcb));
	pcb->next = pcbs;
	return pcbs = pcb;
}

err_t tcp_bind(struct tcp_pcb *pcb, const ip_addr_t *ip, u16_t port)
{
	return ERR_OK;
}

struct tcp_pcb *tcp_listen_with_backlog(struct tcp_pcb *pcb, u8_t backlog)
{
	return listening = pcb;
}

void tcp_accept(struct tcp_pcb *pcb, tcp_accept_fn fn)
{
	pcb->accept = fn;
}

void tcp_arg(struct tcp_pcb *pcb, void *arg)
{
	pcb->arg = arg;
}

void tcp_take(struct tcp_pcb *pcb, tcp_take_fn fn)
{
	pcb->take = fn;
}

void tcp_recv(struct tcp_pcb *pcb, tcp_recv_fn fn)
{
	pcb->recv = fn;
}

void tcp_sent(struct tcp_pcb *pcb, tcp_sent_fn fn)
{
	pcb->sent = fn;
}

void tcp_err(struct tcp_pcb *pcb, tcp_err_fn fn)
{
	pcb->err = fn;
}

void tcp_recved(struct tcp_pcb *pcb, u16_t len)
{
	assert_true(len <= pcb->unread);
	pcb->unread -= len;
}

bool stack_unmapped_seen; // nothing comes over loopback here
struct pbuf *stack_mapped(struct pbuf *p)
{
	return p;
}

err_t tcp_output(struct tcp_pcb *pcb)
{
	assert_false(pcb->aborted);
	return ERR_OK;
}

void stack_flush(void) {}

uint32_t stack_window_buffers(const struct tcp_pcb *pcb)
{
	return TCP_WND / 1460;
}

static void drop_segment(struct tcp_pcb *pcb)
{
	struct tcp_segment *s = pcb->first;

	pcb->first = s->next;
	if (!pcb->first)
		pcb->last = NULL;
	if (s->page) {
		page_wire_put(s->page);
		world_pages_wired--;
	}
	free(s);
}

err_t tcp_shutdown(struct tcp_pcb *pcb, int rx, int tx)
{
	assert_true(tx && !rx && !pcb->aborted && !pcb->closed);
	pcb->fin_sent = true;
	return ERR_OK;
}

err_t tcp_close(struct tcp_pcb *pcb)
{
	assert_false(pcb->aborted || pcb->closed);
	// What lwIP does to a connection whose data was not read: reset, and the answer may be lost.
	if (!pcb->fin_sent)
		assert_int_equal(pcb->unread, 0);
	pcb->fin_sent = pcb->closed = true;
	return ERR_OK;
}

void tcp_abort(struct tcp_pcb *pcb)
{
	assert_false(pcb->aborted);
	pcb->aborted = true;
	while (pcb->first)
		drop_segment(pcb);
	if (pcb->err)
		pcb->err(pcb->arg, ERR_ABRT);
}

static err_t queue(struct tcp_pcb *pcb, const void *bytes, struct page *page, u32_t len)
{
	struct tcp_segment *s;

	assert_false(pcb->aborted || pcb->closed);
	assert_true(len > 0);
	if (pcb->fin_sent)
		return ERR_CONN;
	if (writes++ >= fail_from || len > pcb->snd_buf)
		return ERR_MEM;
	s = calloc(1, sizeof(*s));
	s->page = page;
	s->len = len;
	if (pcb->last)
		pcb->last->next = s;
	else
		pcb->first = s;
	pcb->last = s;
	pcb->snd_buf -= len;
	pcb->queued += len;
	if (pcb->out_len + len + 1 > pcb->out_size) {
		pcb->out_size = 2 * (pcb->out_len + len + 1);
		pcb->out = realloc(pcb->out, pcb->out_size);
	}
	memcpy(pcb->out + pcb->out_len, bytes, len);
	pcb->out_len += len;
	pcb->out[pcb->out_len] = 0;
	return ERR_OK;
}

err_t genbuf_write(struct tcp_pcb *pcb, const void *data, uint16_t len, bool more)
{
	return queue(pcb, data, NULL, len);
}

err_t pagebuf_write(struct tcp_pcb *pcb, struct page *page, uint16_t offset, uint16_t len,
		    bool more)
{
	char bytes[PAGE_SIZE];
	err_t err;

	assert_true(page->wire > 0 && offset + len <= (int)PAGE_SIZE); // its files have no runs
	shim_dma_read(page_phys(page) + offset, bytes, len);
	err = queue(pcb, bytes, page, len);
	if (err == ERR_OK) {
		page_wire_get(page);
		world_pages_wired++;
	}
	return err;
}

err_t pagebuf_give(struct tcp_pcb *pcb, struct page *page, uint16_t offset, uint16_t len, bool more)
{
	err_t err = pagebuf_write(pcb, page, offset, len, more);

	if (err == ERR_OK)
		page_wire_put(page);
	return err;
}

uint16_t pagebuf_fit(const struct tcp_pcb *pcb)
{
	return PAGE_SIZE;
}

// Half of the time it does not fit.
bool answer_fits(const struct tcp_pcb *pcb, uint16_t head_len, uint16_t len)
{
	return fail_from == ~0u && !pcb->fin_sent && pcb->snd_buf >= (u32_t)head_len + len &&
	       shim_random_below(2);
}

// A head with a name is the one that has had it.
static void name_is_true(const struct answer_head *head)
{
	static struct {
		uint64_t name;
		uint16_t len;
		char bytes[512];
	} known[64];
	unsigned at = head->name % ARRAY_SIZE(known);

	if (known[at].name != head->name) {
		known[at].name = head->name;
		known[at].len = head->len;
		memcpy(known[at].bytes, head->bytes, head->len);
	}
	assert_int_equal(known[at].len, head->len);
	assert_memory_equal(known[at].bytes, head->bytes, head->len);
}

// At times there is no memory.
bool answer_queue(struct tcp_pcb *pcb, const struct answer_head *head, struct page *const *pages,
		  uint16_t len)
{
	if (!shim_random_below(4))
		return false;
	if (head->name)
		name_is_true(head);
	assert_int_equal(genbuf_write(pcb, head->bytes, head->len, len), ERR_OK);
	for (; len; pages++) {
		uint16_t n = (uint16_t)MIN(len, PAGE_SIZE);
		len -= n;
		assert_int_equal(pagebuf_give(pcb, *pages, 0, n, len), ERR_OK);
	}
	return true;
}

// Nor does it always leave at once.
bool answer_now(struct tcp_pcb *pcb, const struct answer_head *head, struct page *page,
		uint16_t len)
{
	assert_in_range(len, 1, PAGE_SIZE);
	return answer_fits(pcb, head->len, len) && answer_queue(pcb, head, &page, len);
}

bool answer_write(struct tcp_pcb *pcb, const void *head, uint16_t head_len,
		  struct page *const *pages, uint16_t len)
{
	const struct answer_head unnamed = {.bytes = head, .len = head_len};

	return answer_fits(pcb, head_len, len) && answer_queue(pcb, &unnamed, pages, len);
}

// ---- the client's side -------------------------------------------------------------------------------

struct tcp_pcb *world_connect(unsigned host)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(0);

	pcb->snd_buf = world.snd_buf;
	if (host & 0x10000) {
		pcb->remote_ip.v6 = true;
		pcb->remote_ip.u.ip6.addr[0] = 0x20010db8;
		pcb->remote_ip.u.ip6.addr[1] = host >> 8 & 0xff;
		pcb->remote_ip.u.ip6.addr[3] = host & 0xff;
	} else {
		pcb->remote_ip.u.ip4 = 10 | host << 24;
	}
	pcb->wire_ports = 1;
	err_t err = listening->accept(NULL, pcb, ERR_OK);
	assert_true((err == ERR_ABRT) == pcb->aborted);
	return pcb;
}

bool world_gone(const struct tcp_pcb *pcb)
{
	return pcb->aborted || pcb->closed;
}

static void after_callback(struct tcp_pcb *pcb, err_t err)
{
	assert_true((err == ERR_ABRT) == pcb->aborted);
	assert_true(err == ERR_OK || err == ERR_ABRT);
}

// The peer sends again what the server did not take, in order. True: one was taken.
static bool offer_refused(struct tcp_pcb *pcb)
{
	struct pbuf *p = pcb->refused;

	if (!p || world_gone(pcb) || !pcb->recv)
		return false;
	pcb->refused = p->next;
	p->next = NULL;
	err_t err = pcb->recv(pcb->arg, pcb, p, ERR_OK);
	if (err == ERR_MEM) {
		p->next = pcb->refused;
		pcb->refused = p;
		return false;
	}
	after_callback(pcb, err);
	return true;
}

// Half of the time, as the straight way does.
static bool taken_in_place(struct tcp_pcb *pcb, const struct pbuf *p)
{
	return pcb->take && !pcb->refused && shim_random_below(2) &&
	       pcb->take(pcb->arg, pcb, p->payload, p->len);
}

void world_say_bytes(struct tcp_pcb *pcb, const void *bytes, size_t len, size_t piece)
{
	const char *at = bytes;

	if (!world_wakes(pcb))
		return;
	while (len && !world_gone(pcb) && pcb->recv) {
		size_t n = piece && piece < len ? piece : MIN(len, (size_t)60000);
		struct pbuf *p = calloc(1, sizeof(*p)), **end = &pcb->refused;
		p->payload = p->memory = malloc(n); // exact: reading past it is seen
		memcpy(p->payload, at, n);
		p->len = p->tot_len = (u16_t)n;
		p->ref = 1;
		at += n;
		len -= n;
		if (taken_in_place(pcb, p)) {
			free(p->memory);
			free(p);
			continue;
		}
		world_buffers++;
		pcb->unread += (u32_t)n;
		while (*end)
			end = &(*end)->next;
		*end = p;
		while (offer_refused(pcb))
			;
	}
}

void world_say(struct tcp_pcb *pcb, const char *text, size_t piece)
{
	world_say_bytes(pcb, text, strlen(text), piece);
}

void world_fin(struct tcp_pcb *pcb)
{
	if (world_gone(pcb) || pcb->fin_received || !world_wakes(pcb))
		return;
	pcb->fin_received = true;
	after_callback(pcb, pcb->recv(pcb->arg, pcb, NULL, ERR_OK));
}

void world_reset(struct tcp_pcb *pcb)
{
	if (world_gone(pcb) || !world_wakes(pcb))
		return;
	tcp_err_fn err = pcb->err;
	void *arg = pcb->arg;
	pcb->err = NULL;
	tcp_abort(pcb);
	err(arg, ERR_RST);
}

void world_ack(struct tcp_pcb *pcb, uint32_t bytes)
{
	bytes = MIN(MIN(bytes, pcb->queued), 60000u);
	if (bytes == 0 || pcb->aborted)
		return;
	pcb->queued -= bytes;
	pcb->snd_buf += bytes;
	for (u32_t left = bytes; left;) {
		u32_t n = MIN(left, pcb->first->len);
		pcb->first->len -= n;
		left -= n;
		if (pcb->first->len == 0)
			drop_segment(pcb);
	}
	if (pcb->sent)
		after_callback(pcb, pcb->sent(pcb->arg, pcb, (u16_t)bytes));
}

bool world_step(void)
{
	if (shim_run_one())
		return true;
	for (struct tcp_pcb *pcb = pcbs; pcb; pcb = pcb->next)
		if (offer_refused(pcb))
			return true;
	for (struct tcp_pcb *pcb = pcbs; pcb && !world.no_acks; pcb = pcb->next)
		if (pcb->queued && !pcb->aborted) {
			world_ack(pcb, 1 + (u32_t)shim_random_below(20000));
			return true;
		}
	return false;
}

void world_settle(void)
{
	while (world_step())
		;
}

const char *world_heard(const struct tcp_pcb *pcb)
{
	return pcb->out ? pcb->out : "";
}

void world_fail_writes(unsigned k)
{
	fail_from = writes + k;
}

void world_writes_ok(void)
{
	fail_from = ~0u;
}

unsigned world_writes(void)
{
	return writes;
}

void world_tcp_finish(void)
{
	world_writes_ok();
	while (pcbs) {
		struct tcp_pcb *pcb = pcbs;
		pcbs = pcb->next;
		while (pcb->first)
			drop_segment(pcb);
		if (pcb->refused)
			pbuf_free(pcb->refused);
		free(pcb->out);
		free(pcb);
	}
	listening = NULL;
	assert_int_equal(world_buffers, 0);
}
