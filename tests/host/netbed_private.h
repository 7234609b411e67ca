// SPDX-License-Identifier: BSD-2-Clause
// Between the test bed's files.
#pragma once

#include "kernel/base.h"

void bed_server_start(void); // listens on port 80
void bed_peers_forget(void);
struct bed_packet;
void bed_make_checksums(struct bed_packet *packet); // as a card does
void bed_cut_forget(void);		    // the rest of the packet that bed_next_tcp is cutting
void bed_check_label(const uint8_t *frame); // of a packet with TCP over IPv6 that leaves
uint64_t kstat_get_held(void);		    // receive buffers held by stack or server
