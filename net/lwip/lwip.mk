# SPDX-License-Identifier: BSD-2-Clause
# lwIP 2.2.1 for the kernel: fetched (or taken from LWIP_DIR), unpacked into $(B)/lwip, patched with
# patches/*.patch in order, and compiled with our options. Only the files named here are built; its
# allocators are replaced by memory.c beside this file.
#     LWIP_CFLAGS   include paths for everybody who includes lwip/*.h
#     LWIP_READY    the stamp that says the patched sources lie in $(B)/lwip
#     LWIP_OBJS     what the kernel links
LWIP_DIR     ?=
LWIP_HOME    := net/lwip
LWIP_SRC     := $(B)/lwip
LWIP_READY   := $(LWIP_SRC)/.ready
LWIP_PATCHES := $(sort $(wildcard $(LWIP_HOME)/patches/*.patch))
LWIP_CFLAGS  := -I$(LWIP_HOME) -I$(LWIP_HOME)/port -I$(LWIP_SRC)/src/include

LWIP_FILES := $(addprefix src/core/,def inet_chksum init ip netif pbuf stats tcp tcp_in tcp_out timeouts udp) \
              $(addprefix src/core/ipv4/,dhcp etharp icmp ip4 ip4_addr ip4_frag) \
              $(addprefix src/core/ipv6/,ethip6 icmp6 ip6 ip6_addr ip6_frag mld6 nd6) \
              src/netif/ethernet
LWIP_UPSTREAM_OBJS := $(LWIP_FILES:%=$(LWIP_SRC)/%.o)
LWIP_OWN_OBJS      := $(patsubst %.c,$(B)/%.o,$(wildcard $(LWIP_HOME)/*.c))
LWIP_OBJS          := $(LWIP_UPSTREAM_OBJS) $(LWIP_OWN_OBJS)

# A change of the set of patches, not only of one of them, makes the sources anew.
$(LWIP_READY): $(LWIP_PATCHES) $(LWIP_HOME)/fetch $(LWIP_HOME)/patches
	@rm -rf $(LWIP_SRC) && mkdir -p $(LWIP_SRC)
ifeq ($(LWIP_DIR),)
	@tarball=$$($(LWIP_HOME)/fetch) && tar -xmf "$$tarball" -C $(LWIP_SRC) --strip-components=1
else
	@cp -R $(LWIP_DIR)/. $(LWIP_SRC)/
endif
	@for p in $(LWIP_PATCHES); do \
		patch -d $(LWIP_SRC) -p1 --fuzz=0 --no-backup-if-mismatch -s <$$p || \
			{ echo "lwip: $$p does not apply" >&2; exit 1; }; done
	@touch $@

# Whoever includes a header of lwIP's is compiled again in the same run in which the patches changed it.
$(LWIP_SRC)/src/include/%.h: $(LWIP_READY) ;

# lwIP's own sources take their few libc headers from port/libc and fewer warnings than ours.
$(LWIP_UPSTREAM_OBJS): $(LWIP_SRC)/%.o: $(LWIP_READY) $(LWIP_HOME)/lwip.mk
	@mkdir -p $(@D)
	$(CC) $(filter-out -Wmissing-prototypes -Wstrict-prototypes,$(CFLAGS)) -Wno-address $(LWIP_CFLAGS) \
		-I$(LWIP_HOME)/port/libc -c -o $@ $(LWIP_SRC)/$*.c
$(LWIP_OWN_OBJS): CFLAGS += $(LWIP_CFLAGS)

-include $(LWIP_OBJS:.o=.d)

# The same for the host, under sanitizers, for the unit tests: the whole stack of ours with lwIP below.
# lwIP reads header fields at odd addresses; x86 does not mind.
LWIP_HOST        := $(B)/host/lwip
LWIP_HOST_LIB    := $(B)/host/libnet.a
LWIP_HOST_CFLAGS := $(LWIP_CFLAGS) -fno-sanitize=alignment
LWIP_HOST_UPSTREAM := $(LWIP_FILES:%=$(LWIP_HOST)/%.o)
LWIP_HOST_OWN      := $(patsubst %.c,$(LWIP_HOST)/%.o,$(filter-out net/socket%.c,$(wildcard $(LWIP_HOME)/*.c net/*.c)) kernel/siphash.c)

$(LWIP_HOST_UPSTREAM): $(LWIP_HOST)/%.o: $(LWIP_READY) $(LWIP_HOME)/lwip.mk
	@mkdir -p $(@D)
	$(HOST_CC) $(HOST_CFLAGS) $(LWIP_HOST_CFLAGS) -Wno-address -MMD -MP -c -o $@ $(LWIP_SRC)/$*.c
$(LWIP_HOST_OWN): $(LWIP_HOST)/%.o: %.c $(LWIP_READY) $(LWIP_HOME)/lwip.mk
	@mkdir -p $(@D)
	$(HOST_CC) $(HOST_CFLAGS) $(LWIP_HOST_CFLAGS) -MMD -MP -c -o $@ $<
$(LWIP_HOST_LIB): $(LWIP_HOST_UPSTREAM) $(LWIP_HOST_OWN)
	@rm -f $@
	ar crs $@ $^
-include $(LWIP_HOST_UPSTREAM:.o=.d) $(LWIP_HOST_OWN:.o=.d)

# lwIP's own unit tests (Debian package `check`), see tests/lwip/main.c. Not under our sanitizers' leak
# check: each test is a process of its own that ends without cleaning up.
LWIP_TEST        := $(B)/host/lwip-test
LWIP_TEST_UNITS  := $(addprefix test/unit/,core/test_def core/test_netif core/test_pbuf core/test_timers \
                    dhcp/test_dhcp etharp/test_etharp ip4/test_ip4 ip6/test_ip6 tcp/tcp_helper tcp/test_tcp \
                    tcp/test_tcp_oos tcp/test_tcp_state udp/test_udp)
LWIP_TEST_OBJS   := $(patsubst %,$(LWIP_TEST)/%.o,$(LWIP_FILES) src/core/mem src/core/memp src/core/ipv4/acd \
                      $(LWIP_TEST_UNITS))
LWIP_TEST_CFLAGS := -Itests/lwip -Inet/lwip -Inet/lwip/port -I$(LWIP_SRC)/src/include -I$(LWIP_SRC)/test/unit \
                    -fno-sanitize=alignment

# And so are its sources. While they are unpacked they are not there, which without this rule would be make's end.
$(sort $(LWIP_FILES:%=$(LWIP_SRC)/%.c) $(LWIP_TEST_OBJS:$(LWIP_TEST)/%.o=$(LWIP_SRC)/%.c)): $(LWIP_READY) ;

$(LWIP_TEST_OBJS): $(LWIP_TEST)/%.o: $(LWIP_READY) $(LWIP_HOME)/lwip.mk
	@mkdir -p $(@D)
	$(HOST_CC) $(HOST_CFLAGS) $(LWIP_TEST_CFLAGS) -Wno-address -Wno-error -w -MMD -MP -c -o $@ $(LWIP_SRC)/$*.c
LWIP_TEST_OWN    := tests/lwip/main.c \
                    $(addprefix $(LWIP_HOME)/,tcp_hash.c tcp_recover.c tcp_holes.c tcp_cwnd.c tcp_sndbuf.c tcp_rcvbuf.c tcp_overdue.c tcp_undo.c tcp_timestamp.c \
                      tcp_timer.c tcp_wheel.c) net/checksum.c
$(B)/host/lwip-tests: tests/lwip/lwipopts.h $(LWIP_TEST_OWN) $(LWIP_TEST_OBJS)
	$(HOST_CC) $(HOST_CFLAGS) $(LWIP_TEST_CFLAGS) -o $@ $(LWIP_TEST_OWN) $(LWIP_TEST_OBJS) -lcheck_pic -lrt -lm -lsubunit
-include $(LWIP_TEST_OBJS:.o=.d)

.PHONY: lwip-tests-build lwip-tests
lwip-tests-build: $(B)/host/lwip-tests
lwip-tests: lwip-tests-build
	ASAN_OPTIONS=detect_leaks=0 $(B)/host/lwip-tests
