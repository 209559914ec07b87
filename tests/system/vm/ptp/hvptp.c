// A PTP device with the name of Hyper-V's. It shows the time that the machine had when this
// was loaded and goes on from there, whatever the wall clock is set to.
#include <linux/module.h>
#include <linux/ptp_clock_kernel.h>
#include <linux/timekeeping.h>

static s64 base;
// The number of the error that reading it fails with; 0: none.
static int broken;
module_param(broken, int, 0644);
static struct ptp_clock *clock;

static int show(struct ptp_clock_info *info, struct timespec64 *ts)
{
	*ts = ns_to_timespec64(base + ktime_to_ns(ktime_get_boottime()));
	return -broken;
}
static int no_set(struct ptp_clock_info *info, const struct timespec64 *ts) { return -EOPNOTSUPP; }
static int no_move(struct ptp_clock_info *info, s64 by) { return -EOPNOTSUPP; }
static int no_pace(struct ptp_clock_info *info, long ppm) { return -EOPNOTSUPP; }
static int no_pins(struct ptp_clock_info *info, struct ptp_clock_request *asked, int on) { return -EOPNOTSUPP; }

static struct ptp_clock_info info = {
	.owner = THIS_MODULE,
	.name = "hyperv",
	.gettime64 = show,
	.settime64 = no_set,
	.adjtime = no_move,
	.adjfine = no_pace,
	.enable = no_pins,
};

static int __init begin(void)
{
	base = ktime_to_ns(ktime_get_real()) - ktime_to_ns(ktime_get_boottime());
	clock = ptp_clock_register(&info, NULL);
	return PTR_ERR_OR_ZERO(clock);
}
static void __exit end(void)
{
	ptp_clock_unregister(clock);
}
module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
