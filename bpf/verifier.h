/* SPDX-License-Identifier: GPL-2.0-only */
/* How to tell the verifier more, or less, about a number. */
#ifndef XDPLB_VERIFIER_H
#define XDPLB_VERIFIER_H

/* Converts a length to host order and tells the verifier that it has 16 bits. The verifier of 6.1
 * assumes nothing about the result of a byte swap, and the compiler removes a mask that it knows to
 * be redundant, so the mask is written in assembly. Remove it when 6.1 is no longer supported.
 */
static __always_inline __u64 host_length(__be16 length)
{
	__u64 swapped = bpf_ntohs(length);

	asm volatile("%0 &= 0xffff" : "+r"(swapped));
	return swapped;
}

/* Makes the verifier forget what it knows about a number. `any` is a number about which it knows
 * nothing. Paths that differ only in this number then have equal states, and the verifier walks the
 * rest of the program once for all of them.
 */
static __always_inline __u64 forget(__u64 number, __u64 any)
{
	number ^= any;
	asm volatile("" : "+r"(number));
	return number ^ any;
}

#endif
