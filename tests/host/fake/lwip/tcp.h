// SPDX-License-Identifier: BSD-2-Clause
// The part of lwIP's raw TCP interface that the servers use, for host tests that bring their own TCP
// (http_world.c): same names and meanings, none of lwIP behind them.
#pragma once

#include "kernel/base.h"

typedef uint8_t u8_t;
typedef uint16_t u16_t;
typedef uint32_t u32_t;
typedef int8_t err_t;
enum {
	ERR_OK = 0,
	ERR_MEM = -1,
	ERR_VAL = -6,
	ERR_CONN = -11,
	ERR_ABRT = -13,
	ERR_RST = -14,
	ERR_CLSD = -15
};

typedef struct {
	u32_t addr[4];
} ip6_addr_t;
typedef struct {
	union {
		ip6_addr_t ip6;
		u32_t ip4;
	} u;
	bool v6;
} ip_addr_t;
#define IP_IS_V6(ip)		(ip)->v6
#define IP_IS_V6_VAL(ip)	(ip).v6
#define ip_2_ip6(ip)		(&(ip)->u.ip6)
#define ip_addr_get_ip4_u32(ip) ((ip)->u.ip4)
#define IPADDR_TYPE_ANY		46
#define IP_ANY_TYPE		NULL
char *ipaddr_ntoa_r(const ip_addr_t *ip, char *buf, int len);

struct pbuf {
	struct pbuf *next;
	void *payload;
	u16_t tot_len, len;
	u32_t ref;
	void *memory; // http_world.c's
};
u8_t pbuf_free(struct pbuf *p);
void pbuf_ref(struct pbuf *p);
u8_t pbuf_remove_header(struct pbuf *p, size_t bytes);

struct tcp_pcb;
typedef err_t (*tcp_accept_fn)(void *arg, struct tcp_pcb *pcb, err_t err);
typedef err_t (*tcp_recv_fn)(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err);
typedef int (*tcp_take_fn)(void *arg, struct tcp_pcb *pcb, const void *data, u16_t len);
typedef err_t (*tcp_sent_fn)(void *arg, struct tcp_pcb *pcb, u16_t len);
typedef void (*tcp_err_fn)(void *arg, err_t err);

#define TCP_WND 262800

struct tcp_segment;
struct tcp_parked;
struct tcp_pcb {
	ip_addr_t remote_ip;
	uint32_t wire_ports; // to another machine: not 0
	u32_t snd_buf;
	void *arg;
	tcp_accept_fn accept;
	tcp_recv_fn recv;
	tcp_take_fn take;
	tcp_sent_fn sent;
	tcp_err_fn err;
	// http_world.c's
	struct tcp_segment *first, *last; // queued and not acknowledged
	u32_t queued;
	struct pbuf *refused; // received and not taken by the server
	u32_t unread;	      // received and not yet reported with tcp_recved
	bool fin_sent, fin_received, aborted, closed, in_callback;
	char *out; // everything ever queued
	size_t out_len, out_size;
	struct tcp_parked *parked; // null: it is not
	struct tcp_pcb *next;
};
#define tcp_sndbuf(pcb)	       ((pcb)->snd_buf)
#define tcp_nagle_disable(pcb) ((void)(pcb))

struct tcp_pcb *tcp_new_ip_type(u8_t type);
err_t tcp_bind(struct tcp_pcb *pcb, const ip_addr_t *ip, u16_t port);
struct tcp_pcb *tcp_listen_with_backlog(struct tcp_pcb *pcb, u8_t backlog);
void tcp_accept(struct tcp_pcb *pcb, tcp_accept_fn fn);
void tcp_arg(struct tcp_pcb *pcb, void *arg);
void tcp_recv(struct tcp_pcb *pcb, tcp_recv_fn fn);
void tcp_take(struct tcp_pcb *pcb, tcp_take_fn fn);
void tcp_sent(struct tcp_pcb *pcb, tcp_sent_fn fn);
void tcp_err(struct tcp_pcb *pcb, tcp_err_fn fn);
void tcp_recved(struct tcp_pcb *pcb, u16_t len);
err_t tcp_output(struct tcp_pcb *pcb);
err_t tcp_close(struct tcp_pcb *pcb);
err_t tcp_shutdown(struct tcp_pcb *pcb, int rx, int tx);
void tcp_abort(struct tcp_pcb *pcb);
