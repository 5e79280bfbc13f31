/* Sends the packets of a pcap file into an interface as fast as is asked for; benches/live compiles and runs it.
 *
 *     send INTERFACE FILE PACKETS-PER-SECOND PACKETS BULK
 *
 * Sends so many packets, from the begin again where the file is over, and after each one of the file so many of BULK: full
 * segments of a download and of a session that goes on. Prints what it sent: packets, bytes, nanoseconds.
 * A system call carries many packets, and the queueing discipline is passed by: the receiver is what is measured. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum { LATE = 5000000, BATCH = 32, FRAME = 1514, PAYLOAD = FRAME - 54 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static uint32_t words(const uint8_t *bytes, size_t n) {
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += bytes[i] << 8 | bytes[i + 1];
    return sum;
}

static void put_sum(uint8_t *at, uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    at[0] = ~sum >> 8;
    at[1] = ~sum;
}

/* A full segment from `server_port`, without its place in the stream; returns the sum over what never changes. */
static uint32_t segment(uint8_t *frame, uint16_t server_port, uint16_t client_port) {
    static const uint8_t head[54] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
        0x45, 0, (FRAME - 14) >> 8, (FRAME - 14) & 0xff, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 200, 0, 2, 10, 200, 0, 1,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x10, 0xfa, 0xf0, 0, 0, 0, 0};
    memcpy(frame, head, sizeof head);
    memset(frame + 54, 0x5a, PAYLOAD);
    static const uint8_t record[5] = {0x17, 3, 3, (PAYLOAD - 5) >> 8, (PAYLOAD - 5) & 0xff};
    memcpy(frame + 54, record, sizeof record);
    uint16_t ports[2] = {htons(server_port), htons(client_port)};
    memcpy(frame + 34, ports, 4);
    put_sum(frame + 24, words(frame + 14, 20));
    return words(frame + 26, 8) + 6 + FRAME - 34 + words(frame + 34, FRAME - 34);
}

static void place(uint8_t *frame, uint32_t seq, uint32_t sum) {
    uint32_t wire = htonl(seq);
    memcpy(frame + 38, &wire, 4);
    put_sum(frame + 50, sum + (seq >> 16) + (seq & 0xffff));
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "send INTERFACE FILE PACKETS-PER-SECOND PACKETS BULK\n");
        return 2;
    }
    double rate = atof(argv[3]);
    long long most = atoll(argv[4]), bulk = atoll(argv[5]);
    int file = open(argv[2], O_RDONLY);
    struct stat about;
    if (file < 0 || fstat(file, &about))
        fail(argv[2]);
    const uint8_t *bytes = mmap(NULL, about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (bytes == MAP_FAILED)
        fail(argv[2]);
    const int64_t end = about.st_size;
    int64_t at = 24;

    int out = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
    int yes = 1;
    if (out < 0 || !where.sll_ifindex || bind(out, (struct sockaddr *)&where, sizeof where))
        fail(argv[1]);
    setsockopt(out, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes);

    /* Each packet of a batch of bulk has a buffer of its own: the kernel copies when it is called. */
    static uint8_t buffers[2][BATCH][FRAME];
    struct mmsghdr batch[BATCH] = {0};
    struct iovec pieces[BATCH];
    for (int i = 0; i < BATCH; i++) {
        batch[i].msg_hdr.msg_iov = &pieces[i];
        batch[i].msg_hdr.msg_iovlen = 1;
    }
    uint32_t seq[2] = {1, 1}, sum[2];
    for (int i = 0; i < BATCH; i++) {
        sum[0] = segment(buffers[0][i], 3389, 50002);
        sum[1] = segment(buffers[1][i], 443, 50001);
    }
    long long sent = 0, sent_bytes = 0, serial = 0;
    const int64_t began = now();
    int64_t base = began;
    while (sent < most) {
        int n = 0;
        long long batch_bytes = 0;
        for (; n < BATCH && sent + n < most; n++, serial++) {
            if (serial % (bulk + 1)) {
                int which = serial & 1;
                place(buffers[which][n], seq[which], sum[which]);
                seq[which] += PAYLOAD;
                pieces[n] = (struct iovec){buffers[which][n], FRAME};
            } else {
                uint32_t length;
                if (at + 16 > end)
                    at = 24;
                memcpy(&length, bytes + at + 8, 4);
                pieces[n] = (struct iovec){(void *)(bytes + at + 16), length};
                at += 16 + length;
            }
            batch_bytes += pieces[n].iov_len;
        }
        int64_t due = base + (int64_t)(sent * 1e9 / rate), late = now() - due;
        struct timespec until = {due / 1000000000, due % 1000000000};
        if (late < 0)
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        /* Time that other programs took is not made up for by a burst. */
        else if (late > LATE)
            base += late;
        for (int done = 0; done < n;) {
            int took = sendmmsg(out, batch + done, n - done, 0);
            if (took > 0)
                done += took;
            else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
                fail("sendmmsg");
        }
        sent += n;
        sent_bytes += batch_bytes;
    }
    printf("%lld %lld %lld\n", sent, sent_bytes, (long long)(now() - began));
    return 0;
}
