// lease-batch: allocations, renewals and releases in order, one a step.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "kea-hook/arguments.hpp"
#include "kea-hook/task.hpp"

namespace dstm::kea {

class BatchTask : public Task {
public:
    using Run = std::function<Reply(const std::string& name, const isc::data::ConstElementPtr&)>;

    static constexpr std::size_t commands_max = 1000;

    // `commands` is a list of at most commands_max. `run` refuses what may not be in a batch.
    BatchTask(const isc::data::ConstElementPtr& commands, Run run);

private:
    std::optional<Reply> advance() override;
    [[nodiscard]] Reply run_one(const isc::data::ConstElementPtr& item) const;

    std::vector<isc::data::ElementPtr> items_;
    Run run_;
    std::size_t next_ = 0;
    std::size_t size_ = 0;  // of the responses as JSON
    isc::data::ElementPtr responses_;
};

}  // namespace dstm::kea
