// What daemons have changed on which interface, in a map that outlives them.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "tep/bpf/layout.h"

namespace dstm::tep::bpf {

class HookRecords {
public:
    // The descriptor of the map `hooks`, which must stay open. Of another form it has no records.
    explicit HookRecords(int map);

    [[nodiscard]] std::optional<dstm_hook> find(int interface) const;
    [[nodiscard]] std::vector<std::pair<int, dstm_hook>> all() const;
    // What cannot be written is only not taken back after a crash.
    void write(int interface, const dstm_hook& record);
    void erase(int interface);

private:
    int map_;
};

}  // namespace dstm::tep::bpf
