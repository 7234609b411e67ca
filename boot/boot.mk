# SPDX-License-Identifier: BSD-2-Clause
# Linking and the ISO. lwIP is an archive: the linker takes what the kernel calls.
KERNEL_LDFLAGS := -n -T linker.ld -z noexecstack -z max-page-size=4096 --warn-unresolved-symbols --no-warn-rwx-segments

$(B)/lwip.a: $(LWIP_OBJS)
	@rm -f $@
	$(CROSS_COMPILE)ar crsD $@ $(LWIP_OBJS)

$(B)/pagewire.elf: linker.ld $(OBJS) $(B)/lwip.a
	$(LD) $(KERNEL_LDFLAGS) -o $@ $(OBJS) $(B)/lwip.a
