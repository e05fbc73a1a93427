// A network namespace that belongs to one thread, and interfaces in it.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/dataplane/netlink.hpp"

namespace dstm::client {

// The namespace goes with the thread.
inline void in_namespace(const std::function<void()>& body) {
    std::thread([&body] {
        if (unshare(CLONE_NEWNET) != 0) {
            ADD_FAILURE() << "unshare";
            return;
        }
        body();
    }).join();
}

// Stands over a file of the system for this thread's namespace, and what it starts.
inline void replace_file(const std::string& replacement, const std::string& path) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount(replacement.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
        ADD_FAILURE() << "mount over " << path;
    }
}

// Up, and gone with the object.
class TunInterface {
public:
    explicit TunInterface(const std::string& name)
        : file_(open("/dev/net/tun", O_RDWR | O_CLOEXEC)) {
        ifreq request{};
        name.copy(request.ifr_name, IFNAMSIZ - 1);
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (ioctl(file_, TUNSETIFF, &request) != 0) ADD_FAILURE() << "TUNSETIFF";
        auto netlink = dataplane::Netlink::open();
        index_ = *netlink->interface_index(name);
        EXPECT_TRUE(netlink->set_interface_up(index_, true));
    }
    TunInterface(const TunInterface&) = delete;
    TunInterface& operator=(const TunInterface&) = delete;
    ~TunInterface() { close(file_); }

    [[nodiscard]] int index() const { return index_; }
    [[nodiscard]] int file() const { return file_; }

private:
    int file_;
    int index_ = 0;
};

}  // namespace dstm::client
