import { z } from 'zod';
import type { CreatedIssue, NangoAction, NewIssue } from '../../models';

const newIssue = z.object({
    repository: z.string().regex(/^[\w.-]+\/[\w.-]+$/),
    title: z.string().min(1).max(256),
    body: z.string().optional()
});

export default async function runAction(nango: NangoAction, input: NewIssue): Promise<CreatedIssue> {
    const { data: wanted } = await nango.zodValidateInput({ zodSchema: newIssue, input });
    try {
        const answer = await nango.post({
            endpoint: `/repos/${wanted.repository}/issues`,
            data: { title: wanted.title, body: wanted.body }
        });
        return { number: answer.data.number, url: answer.data.html_url };
    } catch (error: any) {
        if (error.response?.status === 410) {
            throw new nango.ActionError({
                code: 'issues_disabled',
                message: `${wanted.repository} has no issues`
            });
        }
        throw error;
    }
}
