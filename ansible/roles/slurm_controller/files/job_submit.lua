-- Managed by ansible, role slurm_controller. As on CINECA's clusters: a job without an account is refused, in words.

function slurm_job_submit(job_desc, part_list, submit_uid)
   if job_desc.account == nil or job_desc.account == "" then
      slurm.log_user("No account given: say which one to charge with --account=NAME (-A NAME).")
      return slurm.ERROR
   end
   return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
   return slurm.SUCCESS
end

return slurm.SUCCESS
