// What outlives the daemon: programs and maps of one device in the BPF file system, by name.
// Knows no layout.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.hpp"
#include "common/dataplane/descriptor.hpp"

namespace dstm::tep::bpf {

// Maps by their names in the programs.
using Maps = std::map<std::string, dataplane::Descriptor, std::less<>>;

struct Pin {
    std::string name;
    int descriptor;  // of a map or program
};

class Pins {
public:
    // Of the device of this name in the network namespace that we are in. refused: no right to look
    // there.
    [[nodiscard]] static Result<Pins> open(const std::string& device);
    // The file system for them is there; replace() mounts it otherwise.
    [[nodiscard]] static bool is_mounted();

    [[nodiscard]] const std::string& directory() const { return directory_; }

    [[nodiscard]] bool exist() const;
    // How the link of a program to this interface is pinned.
    [[nodiscard]] std::string link_path(int interface) const;
    // False: this process has not the right to.
    [[nodiscard]] bool may_be_read() const;
    // What is pinned. conflict: something that is not a map of this name, or has none of our names,
    // or stands where the directory belongs. unavailable: no right to read them.
    [[nodiscard]] Result<Maps> maps() const;
    // Those that are what their names say, without the others.
    [[nodiscard]] Maps good_maps() const;
    // These and no others but links, all in one step: whoever dies in the middle leaves what was
    // there. Mounts the BPF file system where it is missing. unavailable: that cannot be done.
    // conflict: as maps().
    [[nodiscard]] Result<void> replace(const std::vector<Pin>& all) const;
    // All that is pinned under our names, and the directory; what is linked so ends. conflict:
    // something else is in it or in its place, and stays. refused: no right to.
    [[nodiscard]] Result<void> remove() const;
    // Only the links.
    void end_links() const;

private:
    explicit Pins(std::string directory)
        : directory_(std::move(directory)), fresh_(directory_ + ",new") {}
    // conflict: something that is not ours is in the way.
    [[nodiscard]] Result<void> check() const;

    std::string directory_;
    std::string fresh_;  // becomes the directory when all is in it
};

// Whether we would pin something under this name, or a daemon of before has. Of all else in our
// directory nothing is touched.
[[nodiscard]] bool is_name_of_pin(std::string_view name);

// The maps of the program on a device's egress hook: where the BPF file system was private to the
// daemon (as under `ip netns exec`), its pins went with it, but not the programs. Empty: none of
// ours is there.
[[nodiscard]] Maps maps_of_hook(const std::string& device);

}  // namespace dstm::tep::bpf
