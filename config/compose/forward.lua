-- Auto-forwarding, as a hospital's PACS does it: every stable study goes to LMS-SR.
-- What LMS-SR sent itself does not go back, and its arrival alone sends nothing; images that come later send the study again
-- (LMS-SR knows what it has). A send that failed is tried again at every heart beat, so that no study is lost while LMS-SR is down.

local DESTINATION = 'lms-sr'  -- the name in DicomModalities
local OURS = 'LMS_SR'         -- its AE title
local MARK = 'SentToLmsSr'    -- user metadata of a study: how many instances the last send had

local failed = {}

local function toSend(study)
   local found = {}
   for _, instance in ipairs(ParseJson(RestApiGet('/studies/' .. study .. '/instances'))) do
      local metadata = ParseJson(RestApiGet('/instances/' .. instance['ID'] .. '/metadata?expand'))
      if metadata['RemoteAET'] ~= OURS then
         found[#found + 1] = instance['ID']
      end
   end
   return found
end

function OnStableStudy(study, tags, metadata)
   local instances = toSend(study)
   local count = tostring(#instances)
   if #instances == 0 or metadata[MARK] == count then
      return
   end
   RestApiPost('/modalities/' .. DESTINATION .. '/store', DumpJson({ Resources = instances, Synchronous = false }, true))
   RestApiPut('/studies/' .. study .. '/metadata/' .. MARK, count)
end

function OnJobFailure(job)
   failed[job] = true
end

function OnHeartBeat()
   local again = failed
   failed = {}
   for job, _ in pairs(again) do
      RestApiPost('/jobs/' .. job .. '/resubmit', '')
   end
end
